"""Steps of a small transformer's training. Run as `train.py SECONDS`; says steps a second."""

import json
import sys
import time

import torch

SECONDS = float(sys.argv[1])


def main():
    torch.manual_seed(7)
    layer = torch.nn.TransformerEncoderLayer(512, 8, 2048, dropout=0.0, batch_first=True)
    model = torch.nn.TransformerEncoder(layer, 6).cuda()
    optimizer = torch.optim.AdamW(model.parameters(), lr=1e-4)
    given = torch.randn(32, 128, 512, device="cuda")

    def step():
        optimizer.zero_grad(set_to_none=True)
        loss = (model(given) - given).square().mean()
        loss.backward()
        optimizer.step()

    def steps_for(seconds):
        torch.cuda.synchronize()
        begun, count = time.monotonic(), 0
        while time.monotonic() - begun < seconds:
            step()
            count += 1
        torch.cuda.synchronize()
        return count / (time.monotonic() - begun)

    steps_for(SECONDS / 3)
    print(json.dumps({"steps_per_second": steps_for(SECONDS)}), flush=True)


main()
