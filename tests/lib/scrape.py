# SPDX-License-Identifier: BSD-3-Clause
"""Prometheus' text format, read strictly: what a scraper would refuse fails here."""
import re
import socket
from collections import defaultdict

NAME = re.compile(r"[a-zA-Z_:][a-zA-Z0-9_:]*")
LABEL = re.compile(r'([a-zA-Z_][a-zA-Z0-9_]*)="((?:[^"\\\n]|\\[\\"n])*)"(,|$)')
TYPES = ("counter", "gauge", "histogram")


class Metrics:
    """All samples of one text: metrics["name", {"label": "value"}] is the sum of those that have these labels."""

    def __init__(self, text):
        self.samples = defaultdict(dict)    # name -> {sorted labels: value}
        self.types, self.help = {}, {}
        self.family, self.done = None, set()
        assert text.endswith("\n")
        for line in text.splitlines():
            if line.startswith("#"):
                self.comment(line)
            else:
                self.sample(line)
        self.check_histograms()

    def comment(self, line):
        _, what, name, rest = line.split(" ", 3)
        assert NAME.fullmatch(name), line
        if what == "HELP":
            assert name not in self.help, f"HELP twice: {line}"
            self.help[name] = rest
        else:
            assert what == "TYPE" and rest in TYPES and name not in self.types, line
            self.types[name] = rest
            self.done.add(self.family)
            assert name not in self.done, f"{name} is in two places"
            self.family = name
            assert rest != "counter" or name.endswith("_total"), line

    def sample(self, line):
        match = re.fullmatch(r"([a-zA-Z_:][a-zA-Z0-9_:]*)(?:\{(.*)\})? (\S+)", line)
        assert match, f"no sample: {line!r}"
        name, text, value = match.groups()
        suffixes = ("_bucket", "_sum", "_count") if self.types[self.family] == "histogram" else ("",)
        assert name in [self.family + s for s in suffixes], f"{name} within {self.family}"
        labels = self.labels(text or "", line)
        assert labels not in self.samples[name], f"twice: {line}"
        self.samples[name][labels] = float(value)

    @staticmethod
    def labels(text, line):
        labels, at = {}, 0
        while at < len(text):
            match = LABEL.match(text, at)
            assert match and match[1] not in labels, f"labels at {text[at:]!r}: {line}"
            labels[match[1]] = re.sub(r"\\(.)", lambda m: "\n" if m[1] == "n" else m[1], match[2])
            at = match.end()
        return tuple(sorted(labels.items()))

    def check_histograms(self):
        for name in [n for n, kind in self.types.items() if kind == "histogram"]:
            series = defaultdict(list)
            for labels, value in self.samples[name + "_bucket"].items():
                rest = dict(labels)
                edge = float(rest.pop("le").replace("+Inf", "inf"))
                series[tuple(sorted(rest.items()))].append((edge, value))
            for labels, buckets in series.items():
                edges = [e for e, _ in buckets]
                counts = [c for _, c in buckets]
                assert edges == sorted(edges) and edges[-1] == float("inf") and counts == sorted(counts), labels
                assert counts[-1] == self.samples[name + "_count"][labels]
                assert labels in self.samples[name + "_sum"]

    def get(self, name, **labels):
        """Sum over the samples that have these labels; None when there is none."""
        wanted = {(k, str(v)) for k, v in labels.items()}
        found = [v for have, v in self.samples.get(name, {}).items() if wanted <= set(have)]
        return sum(found) if found else None

    def values(self, name, label):
        return {dict(labels).get(label) for labels in self.samples.get(name, {})}


def http(port, request, timeout_s=60):
    """Raw bytes there and back, until the server closes."""
    with socket.create_connection(("127.0.0.1", port), timeout_s) as s:
        s.sendall(request)
        answer = b""
        try:
            while more := s.recv(65536):
                answer += more
        except ConnectionResetError:
            pass
    return answer


def scrape_text(port, path="/metrics"):
    answer = http(port, f"GET {path} HTTP/1.1\r\nHost: x\r\nConnection: close\r\n\r\n".encode())
    head, _, body = answer.partition(b"\r\n\r\n")
    assert head.startswith(b"HTTP/1.1 200 "), head
    assert f"Content-Length: {len(body)}".encode() in head
    return body.decode()


def scrape(port):
    return Metrics(scrape_text(port))
