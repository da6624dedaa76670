"""The page says everything in each of its languages, and nothing that it has no word for."""

import re
from pathlib import Path
from typing import Any

import pytest

from server import errors, pages
from server.schemas.values import MembershipRole, SystemEvent, UserRole
from tests.programs import ran

pytestmark = pytest.mark.one_database

SOURCES = [
    path
    for path in sorted(pages.WEB.rglob("*.js"))
    if not {"vendor", "i18n"} & set(path.relative_to(pages.WEB).parts)
]
CODE = "\n".join(path.read_text(encoding="utf-8") for path in SOURCES)
KEY = re.compile(r"'([a-z]+\.[a-zA-Z_.]+)'")
FAMILY = re.compile(r"`([a-z]+\.(?:[a-z_]+\.)*)\$\{")
# Sent without an acknowledgement, or to a path that the page does not know.
NEVER_MET = {"unknown_event", "method_not_allowed"}


@pytest.fixture
async def languages() -> dict[str, Any]:
    return await ran("page_words.mjs")


def placeholders(sentence: Any) -> set[str]:
    forms = sentence.values() if isinstance(sentence, dict) else [sentence]
    return {name for form in forms for name in re.findall(r"\{(\w+)\}", form)}


async def test_each_language_has_every_sentence(languages: dict[str, Any]) -> None:
    english = languages["en"]["words"]
    for code, language in languages.items():
        words = language["words"]
        assert list(words) == list(english), code
        for key, sentence in words.items():
            assert placeholders(sentence) == placeholders(english[key]), (code, key)
            forms = sentence.values() if isinstance(sentence, dict) else [sentence]
            assert all(form.strip() == form != "" for form in forms), (code, key)


async def test_a_number_has_the_forms_of_its_language(languages: dict[str, Any]) -> None:
    for code, language in languages.items():
        for key, sentence in language["words"].items():
            if isinstance(sentence, dict):
                assert set(sentence) <= set(language["pluralCategories"]), (code, key)
                assert {"one", "other"} <= set(sentence), (code, key)


async def test_the_page_says_only_what_there_are_words_for(languages: dict[str, Any]) -> None:
    words = languages["en"]["words"]
    families = {key.partition(".")[0] for key in words}
    used = {key for key in KEY.findall(CODE) if key.partition(".")[0] in families}
    assert len(used) > 100
    assert used <= set(words)
    for stem in FAMILY.findall(CODE):
        assert any(key.startswith(stem) for key in words), stem


async def test_there_are_no_words_that_the_page_never_says(languages: dict[str, Any]) -> None:
    used = set(KEY.findall(CODE))
    stems = tuple(FAMILY.findall(CODE))
    never = [key for key in languages["en"]["words"] if key not in used]
    assert [key for key in never if not key.startswith(stems)] == []


async def test_every_refusal_role_and_announcement_has_words(languages: dict[str, Any]) -> None:
    words = languages["en"]["words"]
    codes = {
        error.code
        for error in vars(errors).values()
        if isinstance(error, type) and issubclass(error, errors.ClientError)
    }
    assert len(codes) > 10
    assert {f"error.{code}" for code in codes - NEVER_MET} <= set(words)
    assert {f"role.{role.value}" for role in UserRole} <= set(words)
    assert {f"membership.{role.value}" for role in MembershipRole} <= set(words) | {
        "membership.member"
    }
    told = [event for event in SystemEvent if event is not SystemEvent.NOTICE]
    assert {f"system.{event.value}" for event in told} <= set(words)


def test_no_text_for_people_is_written_into_the_code() -> None:
    """Whatever stands in `aria-label`, `title`, `placeholder` or `alt` comes from the words."""
    written = re.findall(r"(?:'aria-label'|\btitle|placeholder|\balt): '([^']+)'", CODE)
    assert written == []
    assert Path(SOURCES[0]).exists()
