"""A kernel of Jupyter that starts fast: it is forked where torch is imported already.

run_notebooks.py runs the server. Jupyter starts the client in place of a kernel. It
asks the server for one, passes interrupts on, and ends when its kernel has ended.

    forked_kernel.py serve SOCKET
    forked_kernel.py start SOCKET CONNECTION_FILE

The client is started once for each notebook, so it imports little.
"""

import json
import os
import signal
import socket
import sys


def main() -> None:
    """Be the server, or the client of one kernel."""
    if sys.argv[1] == "serve":
        serve(sys.argv[2])
    else:
        start(*sys.argv[2:])


def serve(path: str) -> None:
    """Fork a kernel for each that asks, until this process is ended."""
    import torch._dynamo  # noqa: F401, what takes longest: torch, and more for checks
    from ipykernel import kernelapp  # noqa: F401

    signal.signal(signal.SIGCHLD, signal.SIG_IGN)  # nobody waits for the kernels
    with socket.socket(socket.AF_UNIX) as server:
        server.bind(path)
        server.listen()
        while True:
            connection, _ = server.accept()
            with connection:
                if os.fork() == 0:
                    server.close()
                    be_kernel(connection)


def be_kernel(connection: socket.socket) -> None:
    """Become the kernel that was asked for; the connection closes when it ends."""
    from ipykernel.kernelapp import launch_new_instance

    with connection.makefile() as asked:
        wanted = json.loads(asked.readline())
    connection.sendall(f"{os.getpid()}\n".encode())
    signal.signal(signal.SIGCHLD, signal.SIG_DFL)
    os.environ.update(wanted["environment"])
    os.chdir(wanted["folder"])
    del sys.path[0]  # the folder of this file
    sys.argv = ["ipykernel_launcher", "-f", wanted["connection_file"]]
    # It ends when the server has ended.
    sys.argv.append(f"--IPKernelApp.parent_handle={os.getppid()}")
    status = 1
    try:
        launch_new_instance()
        status = 0
    finally:
        os._exit(status)


def start(path: str, connection_file: str) -> None:
    """Ask for a kernel, and last as long as it does."""
    wanted = {
        "environment": dict(os.environ),
        "folder": os.getcwd(),
        "connection_file": connection_file,
    }
    with socket.socket(socket.AF_UNIX) as connection:
        connection.connect(path)
        connection.sendall(json.dumps(wanted).encode() + b"\n")
        with connection.makefile() as answers:
            kernel = int(answers.readline())
            for number in (signal.SIGINT, signal.SIGTERM):
                signal.signal(number, lambda number, _: os.kill(kernel, number))
            answers.read()  # ends when the kernel has ended


if __name__ == "__main__":
    main()
