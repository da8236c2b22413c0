"""Deep Q-learning on a small grid: a replay deque of namedtuples, masks of final states, gather and
max(1).values, a target network updated softly through its state dict, clipping of values.

Exercises what PyTorch's DQN tutorial does.
"""

import math
import random
from collections import deque, namedtuple
from itertools import count

import numpy as np
import torch
import torch.nn as nn
import torch.nn.functional as F
import torch.optim as optim

Transition = namedtuple("Transition", ("state", "action", "next_state", "reward"))
BATCH_SIZE, GAMMA, EPS_START, EPS_END, EPS_DECAY, TAU = 16, 0.9, 0.9, 0.1, 60, 0.05
random.seed(0)
torch.manual_seed(0)
device = torch.device(
    "cuda" if torch.cuda.is_available() else "mps" if torch.backends.mps.is_available() else "cpu"
)


class Grid:
    """Four by four; the far corner pays and ends."""

    moves = ((0, 1), (0, -1), (1, 0), (-1, 0))

    def reset(self):
        self.at = (0, 0)
        return self.seen()

    def seen(self):
        x = np.zeros(8, np.float32)
        x[self.at[0]] = x[4 + self.at[1]] = 1
        return x

    def step(self, action):
        self.at = tuple(min(max(a + d, 0), 3) for a, d in zip(self.at, self.moves[action]))
        done = self.at == (3, 3)
        return self.seen(), 1.0 if done else -0.05, done


class ReplayMemory(object):
    def __init__(self, capacity):
        self.memory = deque([], maxlen=capacity)

    def push(self, *args):
        self.memory.append(Transition(*args))

    def sample(self, batch_size):
        return random.sample(list(self.memory), batch_size)

    def __len__(self):
        return len(self.memory)


class DQN(nn.Module):
    def __init__(self, n_observations, n_actions):
        super(DQN, self).__init__()
        self.layer1 = nn.Linear(n_observations, 32)
        self.layer2 = nn.Linear(32, 32)
        self.layer3 = nn.Linear(32, n_actions)

    def forward(self, x):
        x = F.relu(self.layer1(x))
        x = F.relu(self.layer2(x))
        return self.layer3(x)


policy_net, target_net = DQN(8, 4).to(device), DQN(8, 4).to(device)
optimizer = optim.AdamW(policy_net.parameters(), lr=5e-3, amsgrad=True)
target_net.load_state_dict(policy_net.state_dict())
memory, steps_done = ReplayMemory(500), 0


def select_action(state):
    global steps_done
    sample = random.random()
    eps = EPS_END + (EPS_START - EPS_END) * math.exp(-1.0 * steps_done / EPS_DECAY)
    steps_done += 1
    if sample > eps:
        with torch.no_grad():
            return policy_net(state).max(1).indices.view(1, 1)
    return torch.tensor([[random.randrange(4)]], device=device, dtype=torch.long)


def optimize_model():
    if len(memory) < BATCH_SIZE:
        return None
    batch = Transition(*zip(*memory.sample(BATCH_SIZE)))
    mask = torch.tensor(
        tuple(map(lambda s: s is not None, batch.next_state)), device=device, dtype=torch.bool
    )
    rest = [s for s in batch.next_state if s is not None]
    values = policy_net(torch.cat(batch.state)).gather(1, torch.cat(batch.action))
    next_values = torch.zeros(BATCH_SIZE, device=device)
    with torch.no_grad():
        next_values[mask] = target_net(torch.cat(rest)).max(1).values
    expected = (next_values * GAMMA) + torch.cat(batch.reward)
    loss = nn.SmoothL1Loss()(values, expected.unsqueeze(1))
    optimizer.zero_grad()
    loss.backward()
    torch.nn.utils.clip_grad_value_(policy_net.parameters(), 100)
    optimizer.step()
    return loss


env, printed = Grid(), 0
for episode in range(4):
    state = torch.tensor(env.reset(), dtype=torch.float32, device=device).unsqueeze(0)
    for t in count():
        action = select_action(state)
        observation, reward, done = env.step(action.item())
        reward = torch.tensor([reward], device=device)
        following = (
            None
            if done
            else torch.tensor(observation, dtype=torch.float32, device=device).unsqueeze(0)
        )
        memory.push(state, action, following, reward)
        state = following
        loss = optimize_model()
        if loss is not None and printed < 40:
            printed += 1
            print(f"step {t} loss {loss.item():.6f}")
        target, policy = target_net.state_dict(), policy_net.state_dict()
        for key in policy:
            target[key] = policy[key] * TAU + target[key] * (1 - TAU)
        target_net.load_state_dict(target)
        if done or t > 60:
            break
