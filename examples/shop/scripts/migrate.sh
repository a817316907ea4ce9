# Stands for the shop's schema migration. SHOP_BREAK=migrate makes it fail, to try a resume.
set -eu
echo "migrating the schema of the shop (attempt $SBKUBE_ATTEMPT)"
if [ "${SHOP_BREAK:-}" = migrate ]; then
    echo "error: relation \"orders\" is locked by another session" >&2
    exit 1
fi
echo "3 migrations applied"
