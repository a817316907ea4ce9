# Stands for a test that visits the shop. SHOP_BREAK=smoke-test makes it fail.
set -eu
if [ "${SHOP_BREAK:-}" = smoke-test ]; then
    echo "error: https://www.shop.test/ answers 502" >&2
    exit 1
fi
echo "the shop answers (target: $SBKUBE_TARGET)"
