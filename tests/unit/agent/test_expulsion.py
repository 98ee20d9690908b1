"""An agent that is not let in gives up; one whose server is away never does."""

from gossamer_agent.expulsion import AT_START, CERTAIN, ONCE_IN, Expulsion
from gossamer_mesh.errors import ConnectError, CredentialsError, NotAdmittedError

AWAY = ConnectError("no connection")
REFUSED = NotAdmittedError("refused", url="nats://lab:4222")
REVOKED = NotAdmittedError("revoked", certain=True)


def ends_after(expulsion, error, most=1000):
    """Return how often that has to happen."""
    return next((n for n in range(1, most) if expulsion.failed(error) is not None), 0)


def once_in():
    made = Expulsion("pi")
    made.connected()
    return made


def test_a_server_that_is_away_is_waited_for_without_end():
    assert ends_after(once_in(), AWAY) == 0
    assert ends_after(Expulsion("pi"), AWAY) == 0


def test_a_server_that_cannot_show_who_it_is_is_waited_for_as_one_that_is_away():
    assert ends_after(once_in(), CredentialsError("its certificate has expired")) == 0


def test_a_refusal_may_pass_for_a_while_and_for_less_at_the_start():
    assert ends_after(once_in(), REFUSED) == ONCE_IN
    assert ends_after(Expulsion("pi"), REFUSED) == AT_START


def test_what_cannot_pass_is_not_waited_for():
    assert ends_after(once_in(), REVOKED) == CERTAIN
    assert ends_after(Expulsion("pi"), REVOKED) == CERTAIN


def test_a_refusal_that_has_passed_is_forgotten():
    expulsion = once_in()
    for _ in range(ONCE_IN - 1):
        assert expulsion.failed(REFUSED) is None
    expulsion.connected()
    assert ends_after(expulsion, REFUSED) == ONCE_IN


def test_that_the_server_is_away_between_refusals_does_not_hide_them():
    expulsion = once_in()
    refusals = 0
    while expulsion.failed(REFUSED) is None:
        refusals += 1
        assert expulsion.failed(AWAY) is None
    assert refusals == ONCE_IN - 1


def test_the_end_names_what_happened_and_what_to_do_next():
    expulsion = once_in()
    said = None
    while said is None:
        said = expulsion.failed(REFUSED)
    assert "agent 'pi' ends" in str(said)
    assert ": refused." in str(said)
    assert "gossamer invite agent --name pi" in str(said)
    assert "gossamer agent join TOKEN" in str(said)
    assert said.fields["url"] == "nats://lab:4222"
