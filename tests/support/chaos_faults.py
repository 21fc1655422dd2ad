"""Calls of AWS that fail while chaos runs."""


def break_calls(proxy, dice, share):
    """Make a share of the calls fail, each of five ways as often as the others; return the rules."""

    def sometimes(request):
        return "dynamodb" not in request.operation.lower() and dice.random() < share / 5

    return {
        "answered with 500": proxy.fail(sometimes, status=500),
        "answered with 503": proxy.fail(sometimes, status=503),
        "done, but the answer was lost": proxy.lose(sometimes),
        "done, but the answer was reset": proxy.reset(sometimes),
        "timed out": proxy.delay(4, sometimes),
    }
