"""Actor-critic on a small corridor: Categorical sampling, log_prob, smooth_l1_loss, lists of losses
stacked and summed, eps from np.finfo, namedtuple records.

Exercises what pytorch/examples' reinforcement_learning does.
"""

import argparse
from collections import namedtuple

import numpy as np
import torch
import torch.nn as nn
import torch.nn.functional as F
import torch.optim as optim
from torch.distributions import Categorical

parser = argparse.ArgumentParser()
parser.add_argument("--gamma", type=float, default=0.9)
parser.add_argument("--episodes", type=int, default=20)
parser.add_argument("--seed", type=int, default=543)
args = parser.parse_args()
torch.manual_seed(args.seed)
rng = np.random.default_rng(args.seed)
SavedAction = namedtuple("SavedAction", ["log_prob", "value"])


class Corridor:
    """Five places; the right end pays."""

    def reset(self):
        self.at = 2
        return np.eye(5)[self.at]

    def step(self, action):
        self.at += 1 if action else -1
        done = self.at in (0, 4)
        return np.eye(5)[self.at], float(self.at == 4), done, {}


class Policy(nn.Module):
    def __init__(self):
        super().__init__()
        self.affine1 = nn.Linear(5, 16)
        self.action_head = nn.Linear(16, 2)
        self.value_head = nn.Linear(16, 1)
        self.saved_actions = []
        self.rewards = []

    def forward(self, x):
        x = F.relu(self.affine1(x))
        return F.softmax(self.action_head(x), dim=-1), self.value_head(x)


model = Policy()
optimizer = optim.Adam(model.parameters(), lr=3e-2)
eps = np.finfo(np.float32).eps.item()


def select_action(state):
    state = torch.from_numpy(state).float()
    probs, state_value = model(state)
    m = Categorical(probs)
    action = torch.tensor(int(rng.random() < probs[1].item()))
    assert m.sample().item() in (0, 1) and m.entropy() > 0
    model.saved_actions.append(SavedAction(m.log_prob(action), state_value))
    return action.item()


def finish_episode():
    R = 0
    policy_losses, value_losses, returns = [], [], []
    for r in model.rewards[::-1]:
        R = r + args.gamma * R
        returns.insert(0, R)
    returns = torch.tensor(returns)
    returns = (returns - returns.mean()) / (returns.std(unbiased=False) + eps)
    for (log_prob, value), R in zip(model.saved_actions, returns):
        advantage = R - value.item()
        policy_losses.append(-log_prob * advantage)
        value_losses.append(F.smooth_l1_loss(value, torch.tensor([R])))
    optimizer.zero_grad()
    loss = torch.stack(policy_losses).sum() + torch.stack(value_losses).sum()
    loss.backward()
    optimizer.step()
    del model.rewards[:]
    del model.saved_actions[:]
    return loss


for episode in range(args.episodes):
    env = Corridor()
    state, done = env.reset(), False
    while not done:
        action = select_action(state)
        state, reward, done, _ = env.step(action)
        model.rewards.append(reward)
    print("step {} loss {:.6f}".format(episode, finish_episode().item()))
