"""All transforms under the name of the module in which torchvision has them."""

from ._fixed import *  # noqa: F403
from ._geometry import InterpolationMode as InterpolationMode
from ._random import *  # noqa: F403
