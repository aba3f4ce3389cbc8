"""What any script with orjson takes at least: python orjson_reads.py FILE parses each line and uses nothing of it."""

import sys

import orjson

with open(sys.argv[1], "rb") as file:
    print(sum(bool(orjson.loads(line)) for line in file))
