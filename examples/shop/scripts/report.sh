# Writes which step of which run deployed the shop. The file is not under version control.
set -eu
mkdir -p "$(dirname "$1")"
printf '%s\n' "run:  $SBKUBE_RUN" "step: $SBKUBE_STEP" "by:   $(id -un 2>/dev/null || id -u)" > "$1"
echo "wrote $1"
