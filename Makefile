# SPDX-License-Identifier: BSD-3-Clause
# Makefile: the usual names for what Meson, ninja and the scripts do. `make help` lists them.
.PHONY: all run test bench fuzz soak coverage deb install help

all: ; @tools/build
run: ; @./run
test: ; @./test
bench: all ; @python3 bench/bench.py $(ARGS)
fuzz: ; @FUZZ_SEED=0 FUZZ_SECONDS=$${FUZZ_SECONDS:-300} ./test fuzz
soak: all ; @/usr/bin/python3 tests/soak/soak.py $(ARGS)
coverage: ; @tools/coverage
deb: ; @tools/deb
install: all ; @DESTDIR='$(DESTDIR)' meson install -C build --no-rebuild

help:
	@echo 'make            build a release in build/'
	@echo 'make run        serve a RAM disk over NVMe/TCP on loopback until Ctrl-C'
	@echo 'make test       all tests; ./test --list names the suites, ./test SUITE runs one'
	@echo 'make bench      measure; ARGS= for bench/bench.py, which compares with other targets'
	@echo 'make fuzz       every fuzz target for FUZZ_SECONDS, 300 by default, a new seed'
	@echo 'make soak       an hour of hosts that check and events that disturb; ARGS=--seconds 36000'
	@echo '                tests/soak/gateway.py: ten minutes of a gateway whose targets are killed and stopped'
	@echo 'make coverage   which lines the unit and simulator tests reach'
	@echo 'make deb        the Debian package, in build-deb/'
	@echo 'make install    install what was built; DESTDIR= for another root'
