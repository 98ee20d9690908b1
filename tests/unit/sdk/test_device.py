"""The device grant: what an issuer's answers mean, in a time that is given."""

from __future__ import annotations

import json

import pytest

from gossamer import device
from gossamer.device import INTERVAL_S, LONGEST_S, SLOWER_S, Polling, Prompt
from gossamer_mesh.errors import EnrolmentError
from gossamer_mesh.vouching.web import Reply

WORD = "a.b.c"
URL = "https://issuer.example"
PROMPT = Prompt(f"{URL}/activate", "ABCD-EFGH", "", 300.0)


def reply(status: int, **said) -> Reply:
    return Reply(status, json.dumps(said).encode(), said)


@pytest.fixture
def polling() -> Polling:
    return Polling(URL, PROMPT, INTERVAL_S, 1000.0)


def test_it_asks_at_the_pace_that_the_issuer_has_said(polling):
    assert polling.wait_s(1000.0) == INTERVAL_S
    assert polling.answered(reply(400, error="authorization_pending")) is None
    assert polling.wait_s(1005.0) == INTERVAL_S


def test_it_asks_more_slowly_each_time_it_is_told_to(polling):
    for times in (1, 2):
        assert polling.answered(reply(400, error="slow_down")) is None
        assert polling.wait_s(1000.0) == INTERVAL_S + times * SLOWER_S


def test_it_asks_half_as_often_when_nobody_answers_but_not_ever_less(polling):
    polling.unanswered()
    assert polling.wait_s(1000.0) == 2 * INTERVAL_S
    assert polling.answered(reply(503)) is None
    assert polling.wait_s(1000.0) == 4 * INTERVAL_S
    for _ in range(10):
        polling.unanswered()
    assert polling.wait_s(1000.0) == LONGEST_S


def test_it_ends_when_the_code_does(polling):
    assert polling.wait_s(1295.0) == INTERVAL_S
    with pytest.raises(EnrolmentError, match="in time") as caught:
        polling.wait_s(1296.0)
    assert caught.value.fields["reason"] == "expired"


def test_the_token_is_the_end(polling):
    assert polling.answered(reply(200, id_token=WORD, access_token=WORD)) == WORD


@pytest.mark.parametrize(
    ("answer", "said"),
    [
        (reply(200, access_token=WORD), "scope openid"),
        (reply(200, id_token=3), "scope openid"),
        (reply(400, error="access_denied"), "you have refused it"),
        (reply(400, error="expired_token"), "log in again"),
        (reply(401, error="invalid_client", error_description="who"), "invalid_client (who)"),
        (reply(404), "it answers 404"),
        (reply(302), "it answers 302"),
    ],
)
def test_what_ends_it_otherwise_is_said(polling, answer, said):
    with pytest.raises(EnrolmentError) as caught:
        polling.answered(answer)
    assert said in str(caught.value)


SAID = {
    "device_code": "d",
    "user_code": "ABCD-EFGH",
    "verification_uri": f"{URL}/activate",
    "verification_uri_complete": f"{URL}/activate?code=ABCD-EFGH",
    "expires_in": 600,
    "interval": 7,
}


def test_what_is_to_be_done_is_what_the_issuer_says():
    prompt, code, interval_s = device._prompt(URL, reply(200, **SAID))
    assert prompt == Prompt(
        SAID["verification_uri"], "ABCD-EFGH", f"{URL}/activate?code=ABCD-EFGH", 600
    )
    assert (code, interval_s) == ("d", 7)


def test_google_calls_the_address_otherwise():
    said = {name: value for name, value in SAID.items() if not name.startswith("verification")}
    prompt, _, _ = device._prompt(URL, reply(200, **said, verification_url=f"{URL}/device"))
    assert (prompt.url, prompt.whole) == (f"{URL}/device", "")


@pytest.mark.parametrize("wrong", [-1, True, "soon", None, [], float("nan"), 10**30])
def test_numbers_that_make_no_sense_are_the_standards(wrong):
    prompt, _, interval_s = device._prompt(
        URL, reply(200, **{**SAID, "interval": wrong, "expires_in": wrong})
    )
    assert (prompt.expires_s, interval_s) == (device.LAST_S, INTERVAL_S)


def test_an_issuers_words_do_not_command_the_terminal():
    prompt, _, _ = device._prompt(URL, reply(200, **{**SAID, "user_code": "\x1b[2JAB\nCD"}))
    assert prompt.code == "[2JABCD"


@pytest.mark.parametrize("missing", ["device_code", "user_code", "verification_uri"])
def test_an_answer_without_a_code_says_what_may_be_wrong(missing):
    with pytest.raises(EnrolmentError, match="Is the client id right"):
        device._prompt(URL, reply(200, **{**SAID, missing: None}))
    with pytest.raises(EnrolmentError, match="no such client"):
        device._prompt(URL, reply(401, error="e", error_description="no such client"))
