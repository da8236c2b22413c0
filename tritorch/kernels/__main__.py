"""`python -m tritorch.kernels warm --target sm_90`"""

import importlib
import sys

# A program stands above all layers, though this one's name puts its file among the kernels.
sys.exit(importlib.import_module("tritorch.perf.warm").main())
