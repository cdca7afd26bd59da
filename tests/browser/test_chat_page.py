"""The chat page at work: ask, stop, retry, edit, compare, come back, rate."""

from __future__ import annotations

import json
import sys
from collections.abc import Iterator
from pathlib import Path

import pytest
from books import Books, Visit, visiting
from playwright.sync_api import Browser, expect

from hieno.endpoint import control
from hieno.endpoint.page.invitations import Allowance
from hieno.endpoint.state import DeploymentSpec
from hieno.endpoint.state import Page as PageSettings
from waiting import wait_until

pytestmark = pytest.mark.browser


@pytest.fixture(scope="module")
def real(tiny_model: Path, tmp_path_factory: pytest.TempPathFactory) -> Iterator[Books]:
    """An endpoint with the real container of a tiny model, twice: as tuned and as base."""
    made = Books(tmp_path_factory.mktemp("real") / "books")

    def spec(version: str, *names: str) -> DeploymentSpec:
        aliases = [word for name in names for word in ("--alias", name)]
        command = ("-m", "hieno.serve", str(tiny_model), "--port", "{port}", *aliases)
        return DeploymentSpec(version, (sys.executable, *command, "--engine", "transformers"))

    made.deploy(spec("1", "blue", "green"), spec("base", "base"))
    yield made
    control.down(made.folder)


def test_a_real_model_answers_alone_and_beside_its_base(real: Books, browser: Browser) -> None:
    with visiting(real, browser) as visit:
        visit.enter()
        visit.button("Settings").click()
        visit.page.get_by_label("Longest answer").fill("24")
        visit.button("Close the settings").click()
        first = visit.ask_and_wait("What is the capital of France?")
        expect(first.locator(".measure")).to_contain_text("tokens")
        assert first.locator(".text").inner_text().strip()
        visit.page.get_by_role("radio", name="Side by side").check()
        visit.page.set_default_timeout(60_000)
        second = visit.ask_and_wait("Who looks after the boats in winter?")
        texts = second.locator(".text").all_inner_texts()
        # the same model twice, with the same chat before: at temperature 0 the same words
        assert texts[0].strip()
        assert texts[0] == texts[1]
        assert second.locator("h3").all_inner_texts() == ["Tuned", "Base"]


def test_an_answer_is_shown_while_it_grows_and_can_be_stopped(visit: Visit, tmp_path: Path) -> None:
    turn = visit.ask(f"hold {tmp_path / 'never'} so far so good")
    expect(turn.locator(".text")).to_have_text("so far so good")
    visit.button("Stop").click()
    expect(turn.locator(".measure")).to_contain_text("stopped")
    again = visit.ask_and_wait("and then?")
    expect(again.locator(".text")).to_have_text("books: 3 messages, the last is and then?")
    said = visit.books.asked()[-1]["messages"][1]
    assert said == {"role": "assistant", "content": "so far so good"}


def test_the_model_stops_when_the_reader_does(visit: Visit, tmp_path: Path) -> None:
    visit.ask(f"hold {tmp_path / 'never'} words")
    expect(visit.turn(0).locator(".text")).to_have_text("words")
    visit.field.press("Escape")
    visit.wait()
    visit.books.wait_for_log("/chat/api/completions 499")


def test_a_question_can_be_asked_again_and_changed(visit: Visit) -> None:
    visit.ask_and_wait("first")
    visit.ask_and_wait("second")
    asked = len(visit.books.asked())
    visit.turn(1).get_by_role("button", name="Ask again").click()
    visit.wait()
    assert visit.books.asked()[asked]["messages"] == visit.books.asked()[asked - 1]["messages"]
    assert not visit.turn(0).get_by_role("button", name="Ask again").is_visible()

    visit.turn(0).hover()
    visit.turn(0).get_by_role("button", name="Edit the question").click()
    visit.turn(0).get_by_role("textbox").fill("changed")
    visit.turn(0).get_by_role("button", name="Ask", exact=True).click()
    visit.wait()
    expect(visit.page.locator("section.turn")).to_have_count(1)
    expect(visit.turn(0).locator(".text")).to_have_text("books: 1 messages, the last is changed")


def test_side_by_side_each_model_sees_its_own_answers(visit: Visit) -> None:
    visit.page.get_by_role("radio", name="Side by side").check()
    visit.ask_and_wait("one")
    visit.ask_and_wait("two")
    words = visit.turn(1).locator(".text").all_inner_texts()
    assert words == ["books: 3 messages, the last is two", "base: 3 messages, the last is two"]
    last = {one["model"]: one["messages"][1]["content"] for one in visit.books.asked()[-2:]}
    assert last == {
        "blue": "books: 1 messages, the last is one",
        "base": "base: 1 messages, the last is one",
    }


def test_chats_are_there_after_a_reload_and_can_be_deleted(visit: Visit) -> None:
    visit.ask_and_wait("When do you open?")
    visit.button("New chat").click()
    visit.page.get_by_role("radio", name="Side by side").check()
    visit.ask_and_wait("Who are you?")
    visit.page.reload()
    listed = visit.page.locator("#chats .title")
    expect(listed).to_have_text(["Who are you?", "When do you open?"])
    listed.first.click()
    expect(visit.answers).to_have_count(2)
    expect(visit.page.get_by_role("radio", name="Side by side")).to_be_checked()
    listed.last.click()
    expect(visit.answers).to_have_count(1)
    visit.ask_and_wait("And on Sunday?")
    assert len(visit.books.asked()[-1]["messages"]) == 3
    listed.first.hover()
    visit.button("Delete: When do you open?").click()
    expect(listed).to_have_text(["Who are you?"])
    visit.page.reload()
    expect(listed).to_have_text(["Who are you?"])


def test_a_reload_in_the_middle_of_an_answer_keeps_what_was_said(
    visit: Visit, tmp_path: Path
) -> None:
    turn = visit.ask(f"hold {tmp_path / 'never'} half of it")
    expect(turn.locator(".text")).to_have_text("half of it")
    kept = """async () => {
        const { all } = await import("/chat/history.js");
        return (await all())[0]?.turns[0].answers[0].text === "half of it";
    }"""
    wait_until(lambda: visit.page.evaluate(kept))
    visit.page.reload()
    visit.page.locator("#chats .title").click()
    expect(visit.turn(0).locator(".text")).to_have_text("half of it")
    expect(visit.turn(0).locator(".measure")).to_contain_text("stopped")


def test_instructions_and_sampling_reach_the_model_and_stay(visit: Visit) -> None:
    visit.button("Settings").click()
    visit.page.get_by_label("Instructions for the model").fill("Be brief.")
    for label, value in (("Temperature", "0.7"), ("Top p", "0.9"), ("Seed", "7")):
        visit.page.get_by_label(label, exact=True).fill(value)
    visit.page.get_by_label("Longest answer").fill("99")
    visit.page.keyboard.press("Escape")
    visit.ask_and_wait("Hello?")
    asked = visit.books.asked()[-1]
    assert asked["messages"][0] == {"role": "system", "content": "Be brief."}
    chosen = {name: asked[name] for name in ("temperature", "top_p", "seed", "max_tokens")}
    assert chosen == {"temperature": 0.7, "top_p": 0.9, "seed": 7, "max_tokens": 99}
    visit.page.reload()
    visit.ask_and_wait("Still?")
    assert visit.books.asked()[-1]["messages"][0]["content"] == "Be brief."


def test_a_setting_that_makes_no_sense_is_put_back(visit: Visit) -> None:
    visit.button("Settings").click()
    for label, value, kept in (
        ("Temperature", "9", "0"),
        ("Longest answer", "1.5", "512"),
        ("Longest answer", "", "512"),
        ("Seed", "-1", ""),
    ):
        field = visit.page.get_by_label(label, exact=True)
        field.fill(value)
        field.blur()
        expect(field).to_have_value(kept)


def test_everything_can_be_done_with_the_keyboard(visit: Visit, tmp_path: Path) -> None:
    press = visit.page.keyboard.press
    expect(visit.field).to_be_focused()
    visit.page.keyboard.type("one")
    press("Shift+Enter")
    visit.page.keyboard.type("two")
    press("Enter")
    visit.wait()
    assert visit.books.asked()[-1]["messages"][0]["content"] == "one\ntwo"
    press("ArrowUp")
    press("ControlOrMeta+A")
    visit.page.keyboard.type(f"hold {tmp_path / 'never'} words")
    press("ControlOrMeta+Enter")
    expect(visit.turn(0).locator(".text")).to_have_text("words")
    press("Escape")
    visit.wait()
    visit.page.locator("#conversation").focus()
    press("/")
    expect(visit.field).to_be_focused()
    press("Alt+n")
    expect(visit.page.locator("section.turn")).to_have_count(0)
    expect(visit.page.locator("#welcome")).to_be_visible()


def test_the_list_comes_from_the_side_on_a_narrow_screen(books: Books, browser: Browser) -> None:
    with visiting(books, browser, viewport={"width": 360, "height": 640}) as visit:
        visit.enter()
        visit.ask_and_wait("say " + "unbreakable" * 40 + "\n\n```\n" + "x" * 500 + "\n```")
        overflows = "document.documentElement.scrollWidth > innerWidth"
        assert not visit.page.evaluate(overflows)
        assert not visit.button("New chat").is_visible()
        visit.button("Chats").click()
        expect(visit.button("Close the list of chats")).to_be_focused()
        visit.page.keyboard.press("Escape")
        expect(visit.button("Chats")).to_be_focused()
        visit.button("Chats").click()
        visit.page.locator("#chats .title").first.click()
        expect(visit.page.locator("#shade")).to_be_hidden()


def test_a_chosen_appearance_stays(visit: Visit) -> None:
    background = "getComputedStyle(document.body).backgroundColor"
    light = visit.page.evaluate(background)
    visit.button("Settings").click()
    visit.page.get_by_role("radio", name="Dark").check()
    dark = visit.page.evaluate(background)
    assert dark != light
    visit.page.reload()
    assert visit.page.evaluate(background) == dark


def test_ratings_and_corrections_are_kept_and_taken_back(visit: Visit) -> None:
    visit.ask_and_wait("say At ten.")
    rows = len(visit.books.rated()) if visit.books.feedback.exists() else 0
    up, down = visit.button("Good answer"), visit.button("Bad answer")
    up.click()
    expect(up).to_have_attribute("aria-pressed", "true")
    visit.button("Correct this answer").click()
    field = visit.page.get_by_role("textbox", name="What should the answer have been?")
    field.fill("At nine.")
    down.click()
    expect(down).to_have_attribute("aria-pressed", "true")
    expect(up).to_have_attribute("aria-pressed", "false")
    expect(field).to_have_value("At nine.")  # what is stored meanwhile takes no words away
    visit.button("Save").click()
    expect(visit.page.locator(".correction")).to_have_text("At nine.")
    visit.page.reload()
    visit.page.locator("#chats .title").click()
    expect(visit.page.locator(".correction")).to_have_text("At nine.")
    visit.button("Take it back").click()
    expect(visit.page.locator(".correction")).to_have_count(0)
    down.click()
    expect(down).to_have_attribute("aria-pressed", "false")
    kept = visit.books.rated()[rows:]
    assert [(row["rating"], row["correction"]) for row in kept] == [
        ("up", None),
        ("down", None),
        ("down", "At nine."),
        ("down", None),
        (None, None),
    ]
    assert len({row["id"] for row in kept}) == 1
    assert kept[0]["model_version"] == "books:1"
    assert kept[0]["messages"] == [
        {"role": "user", "content": "say At ten."},
        {"role": "assistant", "content": "At ten."},
    ]


def test_a_rating_that_is_not_stored_is_taken_back(fresh: Books, browser: Browser) -> None:
    with visiting(fresh, browser) as visit:
        visit.enter()
        visit.ask_and_wait("Hello?")
        control.ensure_running(fresh.folder, wait=60, page=PageSettings("books"))
        visit.button("Good answer").click()
        expect(visit.page.locator("#note")).to_have_text(
            "Feedback is turned off. Nothing was stored."
        )
        expect(visit.button("Good answer")).to_have_attribute("aria-pressed", "false")
        assert not fresh.feedback.exists()


def test_without_feedback_there_are_no_thumbs(browser: Browser, tmp_path: Path) -> None:
    books = Books(tmp_path / "books")
    books.deploy(books.parrot("3"), books.parrot("base"), feedback=False)
    try:
        with visiting(books, browser) as visit:
            visit.enter()
            visit.ask_and_wait("Hello?")
            assert not visit.button("Good answer").is_visible()
            visit.button("Settings").click()
            visit.page.get_by_text("What is stored").click()
            expect(visit.page.get_by_text("Nobody collects feedback here.")).to_be_visible()
    finally:
        control.down(books.folder)


def test_a_guest_sees_what_is_left(books: Books, browser: Browser) -> None:
    with visiting(books, browser) as visit:
        visit.enter(allowance=Allowance(2, 1000))
        note = visit.page.locator("#note")
        expect(note).to_have_text("You have 2 questions and 1,000 tokens of answers left.")
        visit.ask_and_wait("say one two")
        expect(note).to_have_text("You have 1 question and 998 tokens of answers left.")
        visit.ask_and_wait("say three")
        refused = visit.ask_and_wait("and?")
        expect(refused.locator(".trouble strong")).to_have_text(
            "You have asked all the questions that this link allows"
        )


def test_a_chat_can_be_saved_as_a_line_for_training(visit: Visit) -> None:
    visit.ask_and_wait("say At ten.")
    visit.page.locator("#chats li").first.hover()
    with visit.page.expect_download() as download:
        visit.button("Save as JSONL", exact=False).first.click()
    line = Path(download.value.path()).read_text(encoding="utf-8")
    assert json.loads(line) == {
        "messages": [
            {"role": "user", "content": "say At ten."},
            {"role": "assistant", "content": "At ten."},
        ]
    }
