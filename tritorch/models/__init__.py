"""Reference networks, with the names of parameters under which their weights are published.

Nothing is downloaded: `load_weights` and the `weights=` of each builder take a local file.
"""

from ._weights import load_weights as load_weights, read_state as read_state
from .bert import BertForMaskedLM as BertForMaskedLM, BertModel as BertModel
from .clip import CLIPModel as CLIPModel
from .gpt2 import GPT2LMHeadModel as GPT2LMHeadModel, GPT2Model as GPT2Model
from .lstm import LSTMLanguageModel as LSTMLanguageModel
from .resnet import (
    BasicBlock as BasicBlock,
    Bottleneck as Bottleneck,
    ResNet as ResNet,
    resnet18 as resnet18,
    resnet34 as resnet34,
    resnet50 as resnet50,
)
from .simple import MLP as MLP, LeNet as LeNet
from .unet import UNet as UNet
from .vit import (
    VisionTransformer as VisionTransformer,
    vit_b_16 as vit_b_16,
    vit_b_32 as vit_b_32,
    vit_h_14 as vit_h_14,
    vit_l_16 as vit_l_16,
    vit_l_32 as vit_l_32,
)
