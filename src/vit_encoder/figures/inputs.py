"""What the figures accept, and the photograph as their background."""

from operator import index

import torch


def require_photo(photo: torch.Tensor, grid: tuple[int, int]) -> torch.Tensor:
    """The photo as float32 on the CPU, (C, H, W) with C = 3.

    photo: (C, H, W), C = 1 or 3, values in [0, 1]; grid: rows and columns of patches.
    Raises ValueError for anything else.
    """
    if not isinstance(photo, torch.Tensor) or photo.dim() != 3:
        got = getattr(photo, "shape", type(photo).__name__)
        raise ValueError(f"expected a photo (C, H, W), got {describe(got)}")
    photo = photo.detach().to("cpu", torch.float32)
    channels, height, width = photo.shape
    if channels not in (1, 3):
        raise ValueError(f"expected a photo with 1 or 3 channels, got {channels}")
    if not photo.numel():
        raise ValueError(f"expected a photo with pixels, got {height} × {width}")
    low, high = photo.min().item(), photo.max().item()
    if not 0 <= low <= high <= 1:
        raise ValueError(
            f"expected a photo with values in [0, 1], got {low:g} to {high:g}"
        )
    rows, columns = require_grid(grid)
    if height % rows or width % columns:
        raise ValueError(
            f"expected a photo that {rows} rows and {columns} columns divide,"
            f" got {height} × {width} pixels"
        )
    return photo.expand(3, height, width)


def require_grid(grid: tuple[int, int]) -> tuple[int, int]:
    """Rows and columns of patches, two whole numbers above 0."""
    pair = whole_pair(grid)
    if not pair or min(pair) < 1:
        raise ValueError(f"expected a grid (rows, columns), got {grid}")
    return pair


def require_table(
    table: torch.Tensor, grid: tuple[int, int], name: str
) -> torch.Tensor:
    """One number for each query and key, as float64 on the CPU, (N, N)."""
    rows, columns = grid
    n = rows * columns
    if not isinstance(table, torch.Tensor) or table.shape != (n, n):
        got = getattr(table, "shape", type(table).__name__)
        raise ValueError(
            f"expected {name} ({n}, {n}) for a grid of {rows} × {columns} patches,"
            f" got {describe(got)}"
        )
    table = table.detach().to("cpu", torch.float64)
    if not table.isfinite().all():
        raise ValueError(f"expected finite {name}, got inf or nan")
    return table


def require_patch(patch: tuple[int, int], grid: tuple[int, int]) -> tuple[int, int]:
    """Row and column of a patch of the grid, counted from 0."""
    rows, columns = grid
    where = f"{rows} × {columns} patches"
    return require_place(patch, grid, "a query (row, column)", where)


def require_place(
    place: tuple[int, int], sizes: tuple[int, int], what: str, where: str
) -> tuple[int, int]:
    """Two whole numbers from 0, each below its size. ValueError says what and where."""
    pair = whole_pair(place)
    if not pair or not (0 <= pair[0] < sizes[0] and 0 <= pair[1] < sizes[1]):
        raise ValueError(f"expected {what} inside {where}, got {place}")
    return pair


def whole_pair(numbers: object) -> tuple[int, int] | None:
    """Two whole numbers, such as ints or those of a tensor; None for anything else."""
    try:
        first, second = map(index, numbers)
    except (TypeError, ValueError):  # no numbers, no whole ones, or not two
        return None
    return first, second


def describe(shape: torch.Size | str) -> str:
    """A shape, or the name of a type, for a message."""
    return shape if isinstance(shape, str) else f"shape {tuple(shape)}"


def fade(photo: torch.Tensor) -> torch.Tensor:
    """The photo in light grey, (H, W), so that a colour laid over it can be read.

    Luma after Rec. 601, then raised to [0.4, 1].
    """
    weights = torch.tensor([0.299, 0.587, 0.114], device=photo.device).view(3, 1, 1)
    return 0.4 + 0.6 * (photo * weights).sum(0)  # (H, W)


def require_numbers(
    numbers: torch.Tensor, name: str, most: float = 1000, **sizes: int | tuple[int, int]
) -> list:
    """The numbers of a small tensor, as lists of floats.

    sizes: name of each axis → its largest size, or the smallest and the largest. The
    smallest is 1 if left out. Raises TypeError for what is no tensor of real numbers,
    ValueError for another shape or a number that is not in [-most, most].
    """
    if not isinstance(numbers, torch.Tensor) or numbers.is_complex():
        tensor = isinstance(numbers, torch.Tensor)
        got = numbers.dtype if tensor else type(numbers).__name__
        raise TypeError(f"expected a tensor of real numbers as {name}, got {got}")
    ranges = [size if isinstance(size, tuple) else (1, size) for size in sizes.values()]
    if numbers.dim() != len(sizes) or not all(
        low <= size <= high
        for size, (low, high) in zip(numbers.shape, ranges, strict=True)
    ):
        form = ", ".join(
            axis if low < high else str(low)
            for axis, (low, high) in zip(sizes, ranges, strict=True)
        )
        open_axes = " and ".join(
            f"{axis} from {low} to {high}"
            for axis, (low, high) in zip(sizes, ranges, strict=True)
            if low < high
        )
        expected = f"({form})" + (f" with {open_axes}" if open_axes else "")
        raise ValueError(
            f"expected {name} {expected}, got shape {tuple(numbers.shape)}"
        )
    numbers = numbers.detach().to("cpu", torch.float64)
    if not (numbers.abs() <= most).all():  # nan is not either
        low, high = numbers.min().item(), numbers.max().item()
        raise ValueError(
            f"expected numbers from {-most} to {most} in {name}, got {low:g} to"
            f" {high:g}"
        )
    return numbers.tolist()
