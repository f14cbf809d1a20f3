"""The commonest messages of torch and Python: a name, simple words, and a question."""

import re

# name, pattern of "Error: text", what it means in simple words, the question that leads
# on. {0} is the first group of the pattern.
SHAPES = (
    (
        "shapes-do-not-multiply",
        r"mat1 and mat2 shapes cannot be multiplied \(\d+x(\d+) and (\d+)x",
        "In a matrix product the last size of the first, {0}, must be the last but "
        "one of the second, {1}. (A linear layer is such a product with its turned "
        "weight.)",
        "Which sizes meet in this product, and which of them should be equal?",
    ),
    (
        "shapes-do-not-multiply",
        r"Expected size for first two dimensions of batch2 tensor to be: "
        r"\[\d+, (\d+)\] but got: \[\d+, (\d+)\]",
        "In a product of many matrices the last size of the first, {0}, must be the "
        "last but one of the second, {1}, and there must be as many of both.",
        "Which sizes meet in this product, and which of them should be equal?",
    ),
    (
        "shapes-do-not-multiply",
        r"inconsistent tensor size|size mismatch, got input|batch\d must be a 3D|"
        r"(?:self|mat\d) must be a matrix|both arguments to matmul need",
        "The two do not fit as factors of this product.",
        "Which shapes do the two factors have here, and which does the product want?",
    ),
    (
        "einsum-does-not-fit",
        r"einsum\(\)",
        "The letters must fit the tensors: one letter for each axis, and one size for "
        "each letter.",
        "Which axis does each letter stand for, and which size does it have?",
    ),
    (
        "numbers-do-not-fill-shape",
        r"shape '\[(.*?)\]' is invalid for input of size (\d+)",
        "The tensor has {1} numbers, and the new shape must hold exactly as many.",
        "How many numbers does each axis bring, before and after?",
    ),
    (
        "numbers-do-not-fill-shape",
        r"unflatten: Provided sizes (\[.*?\]) don't multiply up to the size of dim "
        r"\d+ \((\d+)\)",
        "The axis has {1} entries, and the sizes {0} must multiply to that.",
        "How many entries does the axis have, and into what should it be cut?",
    ),
    (
        "view-of-reordered-tensor",
        r"view size is not compatible",
        "The axes were put into another order before. The numbers in memory were not, "
        "and `view` reads them as they lie there.",
        "Which step before this one changed the order of the axes, and which order "
        "should the numbers be read in?",
    ),
    (
        "split-does-not-add-up",
        r"split_with_sizes expects split_sizes to sum exactly to (\d+)",
        "The sizes of the pieces must add up to that of the axis, {0}.",
        "How long is the axis that is cut, and how long should each piece be?",
    ),
    (
        "sizes-do-not-broadcast",
        r"The size of tensor a \((\d+)\) must match the size of tensor b \((\d+)\) at "
        r"non-singleton dimension (\d+)",
        "Axis by axis from the last, two sizes must be equal, or one of them 1. Here "
        "{0} meets {1} in axis {2}.",
        "Which axis of the one should stand under which axis of the other?",
    ),
    (
        "sizes-do-not-broadcast",
        r"The expanded size of the tensor \((\d+)\) must match the existing size "
        r"\((\d+)\)",
        "Only an axis of size 1 can be repeated, and this one has size {1}.",
        "Which shape is there, and which shape should it fill?",
    ),
    (
        "sizes-do-not-broadcast",
        r"expand\(.*the number of sizes provided|"
        r"shape mismatch: |doesn't match the broadcast shape|"
        r"Number of dimensions of repeat dims",
        "One shape cannot be repeated so that it fills the other.",
        "Which shape is there, and which shape should it fill?",
    ),
    (
        "parts-do-not-fit",
        r"Sizes of tensors must match except in dimension (\d+)\. Expected size (\d+) "
        r"(?:in dimension \d+ )?but got size (\d+)",
        "Tensors that are joined along axis {0} must be alike in all other axes; {1} "
        "and {2} are not.",
        "Which shapes do the parts have, and along which axis should they grow?",
    ),
    (
        "parts-do-not-fit",
        r"stack expects each tensor to be equal size, but got (\[.*?\]) at entry \d+ "
        r"and (\[.*?\])",
        "Tensors that are stacked must have one shape; {0} and {1} differ.",
        "Which shapes do the parts have, and should there be a new axis?",
    ),
    (
        "parts-do-not-fit",
        r"Tensors must have same number of dimensions|non-empty (?:list|TensorList)|"
        r"zero-dimensional tensor .* cannot be concatenated",
        "Tensors that are joined must have equally many axes, at least one, and there "
        "must be some.",
        "Which shapes do the parts have when they are joined?",
    ),
    (
        "no-such-axis",
        r"Dimension out of range \(expected to be in range of \[(-?\d+), (-?\d+)\], "
        r"but got (-?\d+)\)",
        "This tensor has the axes {0} to {1}, and none has the number {2}.",
        "How many axes does this tensor have here, and from which end do you count?",
    ),
    (
        "too-many-indices",
        r"too many indices for tensor of dimension (\d+)",
        "This tensor has {0} axes, and the brackets name more.",
        "How many axes does this tensor have here?",
    ),
    (
        "permute-does-not-fit",
        r"permute\S*: .*input\.dim\(\) = (\d+) is not equal to len\(dims\) = (\d+)",
        "This tensor has {0} axes, and {1} are named. Each must be named once.",
        "How many axes does this tensor have here?",
    ),
    (
        "permute-does-not-fit",
        r"permute\S* duplicate dims",
        "Each axis must be named once.",
        "Which axis is named twice, and which is not?",
    ),
    (
        "index-out-of-range",
        r"index (-?\d+) is out of bounds for dimension (\d+) with size (\d+)",
        "Axis {1} has {2} entries, counted from 0.",
        "Which number does the last entry have?",
    ),
    (
        "index-out-of-range",
        r"index out of range|\w+ index out of range|exceeds dimension size",
        "There are fewer entries than that. The first one has number 0.",
        "How many entries are there, and which number does the last one have?",
    ),
    (
        "wrong-number-of-axes",
        r"Expected .*D .*input to|only supported on matrices|"
        r"expects a tensor with <= 2 dimensions|must have at least 2 dimensions|"
        r"iteration over a 0-d tensor|len\(\) of a 0-d tensor|"
        r"invalid index of a 0-dim tensor",
        "This step wants a tensor with another number of axes.",
        "How many axes does this tensor have here, and which of them did you expect?",
    ),
    (
        "layer-of-another-width",
        r"Given normalized_shape=(\[.*?\]), expected input with shape \[.*?\], but got "
        r"input of size(\[.*?\])",
        "This layer was built for vectors of size {0}; what comes has shape {1}.",
        "For which width was this layer built, and which axis should have it?",
    ),
    (
        "layer-of-another-width",
        r"expected input(\[.*?\]) to have (\d+) channels, but got (\d+) channels",
        "This convolution was built for {1} channels, and axis 1 of what comes has {2} "
        "entries.",
        "Which axis holds the channels, and how many are there?",
    ),
    (
        "kernel-too-large",
        r"Kernel size can't be greater than actual input size",
        "The window is larger than the image.",
        "Which axes hold height and width, and how large are they?",
    ),
    (
        "unpacking-does-not-fit",
        r"(too many|not enough) values to unpack",
        "On the left of `=` stand fewer or more names than there are values.",
        "How many values does the right side have here?",
    ),
)
OTHERS = (
    (
        "super-init-missing",
        r"cannot assign \w+ before Module\.__init__\(\) call|"
        r"has no attribute '_(?:modules|parameters|buffers|\w+_hooks)'",
        "A module must be prepared before it can hold anything.",
        "What must the first line of `__init__` call?",
    ),
    (
        "error-returned",
        r"__init__\(\) should return None, not '\w+(?:Error|Exception)'",
        "An error that is returned stops nothing: it is a value as any other.",
        "Which word makes an error stop a function?",
    ),
    (
        "container-called",
        r"Module \[(Module\w+)\] is missing the required \"forward\" function",
        "A `{0}` holds layers, and does not know in which order to call them.",
        "Who calls the layers one after the other, and what does each one get?",
    ),
    (
        "parts-without-list",
        r"(cat|stack)\(\): argument 'tensors' \(position 1\) must be tuple of Tensors, "
        r"not Tensor",
        "`torch.{0}` takes the tensors together, as one list or tuple.",
        "What does it take for a second argument?",
    ),
    (
        "dtypes-mixed",
        r"(?:have the same dtype|should be the same|expected scalar type|dtypes match|"
        r"mixed dtype)",
        "Numbers of two types meet: one tensor does not have the type of the input.",
        "Where is a tensor made that does not ask the input for its dtype?",
    ),
    (
        "whole-numbers",
        r"not implemented for '(?:Long|Int|Short|Char|Byte|Bool)'|"
        r"[Dd]type must be either a floating point|only support floating point|"
        r"Only Tensors of floating point|can't be cast to the desired output type Long|"
        r"Integers to negative integer powers",
        "The tensor holds whole numbers, and this step needs fractions.",
        "Which step made whole numbers of them?",
    ),
    (
        "mask-not-boolean",
        r"boolean mask|boolean tensor",
        "A mask holds True and False, not numbers.",
        "Which comparison says where something should happen?",
    ),
    (
        "index-not-whole",
        r"tensors used as indices must be|only integers, slices|"
        r"slice indices must be integers|indices must be integers",
        "An index is a whole number.",
        "Of which type is the index, and which step made it?",
    ),
    (
        "fraction-for-whole-number",
        r"'float' object cannot be interpreted as an integer|of type float|"
        r"but got float|must be int, not float",
        "A size or a count is a whole number, and `/` always gives a fraction.",
        "Which division gives whole numbers?",
    ),
    (
        "in-place-on-expanded",
        r"more than one element of the written-to tensor",
        "Several entries of this tensor are one and the same number in memory.",
        "Which step made it larger without a copy, and must you write into it at all?",
    ),
    (
        "in-place-on-view",
        r"is a view and is being modified inplace",
        "It is a window onto another tensor, and what is written into it lands there.",
        "Can this step give a new tensor instead of writing into an old one?",
    ),
    (
        "in-place-on-leaf",
        r"leaf Variable that requires grad",
        "Something is written into a tensor that gradients are asked for, so that its "
        "own values are lost.",
        "Can this step give a new tensor instead of writing into an old one?",
    ),
    (
        "in-place-breaks-gradient",
        r"modified by an inplace operation",
        "The way back needs values that another step has overwritten.",
        "Which step writes into a tensor that was used before?",
    ),
    (
        "through-numpy",
        r"Can't call numpy\(\) on Tensor that requires grad|"
        r"can't convert \w+ device type tensor to numpy",
        "Numpy keeps no record for gradients, and knows no other device.",
        "Which function of torch does the same?",
    ),
    (
        "graph-used-twice",
        r"backward through the graph a second time",
        "A tensor from an earlier call was kept, with its record for gradients.",
        "What does your part keep from one call to the next?",
    ),
    (
        "gradient-inside",
        r"grad can be implicitly created|does not have a grad_fn",
        "Gradients are asked for here.",
        "Who asks for gradients, your part or who uses it?",
    ),
    (
        "tensor-as-truth",
        r"Boolean value of Tensor with more than one value",
        "`if`, `and`, `or`, `not` and `assert` need one truth value; this tensor has "
        "many.",
        "Should it be true for all entries, or for any?",
    ),
    (
        "tensor-as-number",
        r"only one element tensors can be|with \d+ elements cannot be converted|"
        r"only integer tensors of a single element|"
        r"only length-1 arrays|must be real number, not Tensor",
        "Here one number is needed, and this tensor has many or none.",
        "Which function of torch does this for all entries at once?",
    ),
    (
        "not-a-layer",
        r"(\S+) is not a Module subclass|ModuleList\.extend should be called",
        "`nn.ModuleList` and `nn.Sequential` hold layers, which are instances of "
        "nn.Module, and nothing else.",
        "What is each of the things that you put into it?",
    ),
    (
        "tensor-for-parameter",
        r"cannot assign '\S+' as (parameter|child module|buffer) '(\w+)'",
        "`{1}` is a {0} of the module already, and can only be replaced by another.",
        "Does this value belong to the module, or to this call alone?",
    ),
    (
        "called-no-function",
        r"'torch\.Size' object is not callable",
        "A shape is no function. Its entries are reached with square brackets.",
        "Which brackets call, and which pick an entry?",
    ),
    (
        "called-no-function",
        r"'Tensor' object is not callable",
        "",
        "Which layer or function should be called here? Does its name now stand for a "
        "tensor?",
    ),
    (
        "list-called",
        r"'(list|tuple|dict)' object is not callable",
        "A {0} of layers is no layer: it can only be gone through.",
        "Who calls its entries one after the other, and what does each one get?",
    ),
    (
        "called-no-function",
        r"'(int|float|str|bool)' object is not callable",
        "Only functions and layers can be called.",
        "What stands before the round bracket? Is a `*` missing?",
    ),
    (
        "number-not-iterable",
        r"'(?:int|float)' object is not iterable",
        "A number has no entries that one could go through.",
        "Which function gives the numbers from 0 on, one after the other?",
    ),
    (
        "package-missing",
        r"^(?:ModuleNotFoundError|ImportError): .*'(\S+)'",
        "The package `{0}` is not here, or has no such part.",
        "Can it be done with torch and Python alone?",
    ),
    (
        "too-much-memory",
        r"^MemoryError|can't allocate memory|out of memory",
        "A tensor would need more memory than there is.",
        "Which shape does the largest tensor have, and which should it have?",
    ),
    (
        "endless-recursion",
        r"^RecursionError",
        "It calls itself again and again.",
        "Which line calls the function that it stands in?",
    ),
    (
        "division-by-zero",
        r"^ZeroDivisionError",
        "",
        "Which of the numbers below the line can be 0, and for which input?",
    ),
    ("no-such-key", r"^KeyError", "", "Which keys does this dictionary have?"),
    (
        "name-without-value",
        r"^UnboundLocalError",
        "The name gets its value in this function, but not on every way to this line.",
        "On which way through your code does the name get no value?",
    ),
)
# A thing of this type where a tensor should be → name, what it means, the question.
ARROW = "Which function gave it back, and does that function end with `return`?"
STRAY = {
    "NoneType": (
        "none-used",
        "Something is None here.",
        f"Where does it get its value? {ARROW}",
    ),
    "ellipsis": (
        "ellipsis-left",
        "A `...` is still in its place.",
        "What should stand where `...` stands?",
    ),
    "tuple": (
        "tuple-for-tensor",
        "A tuple stands where one thing should: several values at once.",
        "Which function returns more than one value, and which of them is needed here? "
        "Or does a line end with a comma?",
    ),
    "list": (
        "list-for-tensor",
        "A list stands where one thing should.",
        "How do many tensors become one?",
    ),
    "method": (
        "brackets-missing",
        "A function stands where its result should: it was not called.",
        "Which brackets call a function?",
    ),
    "type": (
        "class-for-instance",
        "A class stands where an instance of it should.",
        "Which brackets make an instance of a class?",
    ),
    "number": (
        "number-for-tensor",
        "A plain number stands where a tensor should.",
        "Which module of Python computes with plain numbers, and which function of it?",
    ),
    "str": (
        "text-for-tensor",
        "A text in quotes stands where something else should.",
        "Are quotes needed here?",
    ),
    "generator": (
        "iterator-for-list",
        "It gives its values one after the other, and once: it is no list or tensor.",
        "How do all of its values become one list?",
    ),
    "layer": (
        "layer-not-called",
        "A layer stands where its output should.",
        "What must a layer be given before there is an output?",
    ),
    "ndarray": (
        "through-numpy",
        "An array of numpy stands where a tensor should.",
        "Which function of torch does the same?",
    ),
}
ALIKE = {
    **dict.fromkeys(("function", "builtin_function_or_method"), "method"),
    **dict.fromkeys(("method_descriptor", "method-wrapper"), "method"),
    **dict.fromkeys(("int", "float", "bool", "complex"), "number"),
    **dict.fromkeys(("map", "zip", "filter", "range", "enumerate"), "generator"),
}
MENTIONED = re.compile(  # how a message names the type of a thing that does not fit
    r"'([\w.-]+)' object (?:has no|is not|does not|cannot)|"
    r"unsupported operand type\(s\) for .*?: '([\w.-]+)' and '([\w.-]+)'|"
    r"must be (?:\w+ of )?Tensors?, not ([\w.-]+)|"
    r"expected Tensor as element \d+ in argument \d+, but got ([\w.-]+)|"
    r"cannot unpack non-iterable ([\w.-]+) object|must be an iterable, not ([\w.-]+)|"
    r"can only concatenate (list|tuple)|argument of type '([\w.-]+)' is not|"
    r"can't multiply (sequence) by|"
    r"object of type '([\w.-]+)' has no len"
)
ARGUMENTS = re.compile(  # the call of a function of Python does not fit it
    r"TypeError: ([\w.<>]+)\(\) (?:missing \d+ required (?:positional|keyword-only) "
    r"arguments?: '|takes .*positional arguments? but|got an unexpected keyword|"
    r"got multiple values|got some positional-only)"
)
OF_TORCH = re.compile(  # the same for a function of C
    r"TypeError: ([\w.]+)\(\):? (?:received an invalid combination|missing \d+ "
    r"required|takes .*positional argument|got an unexpected|argument '\w+' .*must be)"
)
TORCH_ARGUMENTS = (
    "wrong-torch-arguments",
    "",
    "Which arguments does this function take, and in which order?",
)
OWN_RAISE = (  # raise, assert
    (
        "own-error",
        "Your own `raise` stops it.",
        "Which inputs does the task allow, and does your code refuse one of them?",
    ),
    (
        "own-assert",
        "Your own `assert` does not hold.",
        "What did you expect here, and is it true of every input that the task allows?",
    ),
)
WHATEVER_COMES = frozenset(  # names of what goes wrong with any input
    (
        *("wrong-signature", "wrong-arguments", "self-forgotten", "super-init-missing"),
        *("arguments-to-super-init", "wrong-torch-arguments", "parts-without-list"),
        *("undefined-name", "self-dot-forgotten", "attribute-never-set"),
        *("no-such-attribute", "brackets-missing", "layer-not-called", "ellipsis-left"),
        *("class-for-instance", "list-called", "container-called", "not-a-layer"),
        *("tensor-for-parameter", "package-missing"),
    )
)
KINDS = (*SHAPES, *OTHERS, *STRAY.values(), *OWN_RAISE)
NAMES = WHATEVER_COMES | {kind[0] for kind in KINDS} | {"raises", "branch-unwritten"}
