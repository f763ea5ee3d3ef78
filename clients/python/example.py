"""The smallest use: python3 example.py 127.0.0.1:5555 "Pass the baton." """
import sys

from baton_client import Client

with Client(sys.argv[1]) as client:
    stream = client.stream(sys.argv[2], max_tokens=64)
    for token in stream:
        print(token.text, end="", flush=True)
    print(f"\n{stream.result().reason}, seed {stream.seed}")
