# shellcheck shell=bash
# Sourced by the scripts that do long work in steps: says "step n of m" before each,
# how long it took after it, and all of it again in one table at the end.
#
#   steps_total=3
#   step "compile the tests" cargo test --no-run
#   steps_summary            # its exit code: 0 if every step passed, else 1
#
# A failed step stops the script, unless steps_keep_going=1: then the rest still
# runs, so that one run tells everything that is wrong.

steps_total=0
steps_keep_going=0
_steps_done=0
_steps_failed=0
_steps_rows=()

_steps_minutes() { printf '%d.%d min' "$(($1 / 60))" "$(($1 % 60 / 6))"; }

step() {
  local name=$1 began=$SECONDS code=0 outcome=ok
  shift
  _steps_done=$((_steps_done + 1))
  printf '\n== step %d of %d: %s (%s)\n' "$_steps_done" "$steps_total" "$name" "$(date +%H:%M:%S)"
  "$@" || code=$?
  if [ "$code" -ne 0 ]; then
    outcome="FAILED (exit code $code)"
    _steps_failed=$((_steps_failed + 1))
  fi
  _steps_rows+=("$(printf '%-42s %10s   %s' "$name" "$(_steps_minutes $((SECONDS - began)))" "$outcome")")
  printf '== %s: %s, %s\n' "$name" "$outcome" "$(_steps_minutes $((SECONDS - began)))"
  if [ "$code" -ne 0 ] && [ "$steps_keep_going" -ne 1 ]; then
    steps_summary || true
    exit "$code"
  fi
}

steps_summary() {
  printf '\n%-42s %10s\n' "area" "time"
  printf '%s\n' "${_steps_rows[@]}"
  printf '%-42s %10s   %d of %d failed\n' "together" "$(_steps_minutes "$SECONDS")" "$_steps_failed" "$_steps_done"
  [ "$_steps_failed" -eq 0 ]
}
