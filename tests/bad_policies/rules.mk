# SPDX-License-Identifier: LGPL-2.1-or-later OR MIT
#
# Policies that must be refused, built for the tests that try to load them.

BAD_POLICIES := $(patsubst %.bpf.c,$(BUILD)/%.bpf.o,$(sort $(wildcard tests/bad_policies/*.bpf.c)))

units: $(BAD_POLICIES)
