"""What schemathesis must not do to the server that it tests: end its own token, after which every answer would be 401."""

import schemathesis


@schemathesis.hook
def filter_case(context, case) -> bool:
    """The contract says nothing of which token calls: no case revokes one that exists."""
    return not (case.method == "DELETE" and case.path == "/v1/account/tokens/{id}" and "tok_" in str(case.path_parameters))
