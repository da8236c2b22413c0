"""`tritorch.backends`: the switches that PyTorch programs set.

There are no vendor libraries behind this package, so no switch changes a result: products of
float32 are exact to float32 whatever `allow_tf32` says, and kernels are deterministic always.
"""

from . import cuda as cuda, cudnn as cudnn, mha as mha, mps as mps
