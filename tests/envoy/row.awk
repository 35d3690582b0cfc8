# The row of docs/compatibility.md, from what the test programs of a run print. Variables: the version
# of `envoy`, the `form` of the filter, the `date`. Fails if no test was run.
/^test result: / { passed += $4; failed += $6 }
/^test .* \.\.\. FAILED$/ { names = names (names ? ", " : "") "`" $2 "`" }
END {
	if (passed + failed == 0) exit 1
	if (failed && !names) names = failed
	printf "| %s | %s | %d of %d | %s | %s |\n", envoy, form, passed, passed + failed, names ? names : "none", date
}
