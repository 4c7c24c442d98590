"""Words in all scripts: what duplicate search and decontamination compare, and what repetition is counted in."""

from __future__ import annotations

import pytest

from data_prep import decontaminate, dedup, shingles
from data_prep.filters import gopher_repetition
from data_prep.records import Document

CHINESE = (
    "人人生而自由，在尊严和权利上一律平等。他们赋有理性和良心，并应以兄弟关系的精神相对待。"
    "人人有资格享有本宣言所载的一切权利和自由，不分种族、肤色、性别、语言、宗教、政治或其他见解。"
    "任何人不得使为奴隶或奴役；一切形式的奴隶制度和奴隶买卖，均应予以禁止。"
)
HINDI = "सभी मनुष्यों को गौरव और अधिकारों के मामले में जन्मजात स्वतन्त्रता और समानता प्राप्त है।"
QUESTION = "患有慢性肾脏疾病的成年人每天应当摄入多少克蛋白质？"


@pytest.mark.parametrize(
    ("text", "words"),
    [
        ("The cat's 2 Cats_sat", ["the", "cat", "s", "2", "cats", "sat"]),
        ("Straße café", ["strasse", "café"]),
        ("北京2008年，奥运会 GPT模型", ["北", "京", "2008", "年", "奥", "运", "会", "gpt", "模", "型"]),
        ("ｶﾀｶﾅ", ["カ", "タ", "カ", "ナ"]),
        ("สวัสดี", ["ส", "ว", "ส", "ด"]),
        ("हिन्दी की कविता।", ["हिन्दी", "की", "कविता"]),
        ("தமிழ் மொழி", ["தமிழ்", "மொழி"]),
        ("한국어 문장", ["한국어", "문장"]),
    ],
)
def test_words(text: str, words: list[str]) -> None:
    assert shingles.words(text) == words


def test_of_scripts_without_blanks_spaced_words_stand_between_punctuation_marks() -> None:
    assert shingles.spaced_words("北京2008年，奥运会 GPT模型") == ["北京2008年", "奥运会", "gpt模型"]
    assert shingles.spaced_words("The cat") is shingles.words("The cat")


def test_near_duplicates_in_chinese_are_found() -> None:
    changed = CHINESE.replace("兄弟", "姐妹")
    found = dedup.find([CHINESE, changed, QUESTION], 0.8)
    assert found.twins.keys() == {1}
    assert found.twins[1].kept == 0


def test_chinese_questions_are_found_within_sentences_and_with_another_punctuation() -> None:
    questions = decontaminate.Questions(13, 0.7)
    questions.add(decontaminate.Item("test.jsonl", 1, QUESTION))
    questions.add(decontaminate.Item("test.jsonl", 2, "什么是痤疮？"))
    assert (questions.items, questions.too_short) == (1, 1)
    planted = f"{CHINESE[:40]}有人问到{QUESTION[:10]}，{QUESTION[10:-1]}的问题{CHINESE[40:]}"
    (hit,) = questions.hits(planted)
    assert hit.item.line == 1
    assert questions.hits(CHINESE) == []
    (near,) = questions.hits(planted.replace("成年人", "老年人"))
    assert near.item.line == 1


def test_repetition_is_not_counted_in_letters_nor_in_pieces_of_words() -> None:
    check = gopher_repetition.build(gopher_repetition.Settings())
    names = "".join(f"中华人民共和国第{number}条规定，{one}。" for number, one in enumerate(CHINESE.split("，")))
    assert check(Document("", names, "")) is None
    assert check(Document("", HINDI, "")) is None
    drop = check(Document("", "今天天气很好，我们去公园。" * 20, ""))
    assert drop is not None
    assert drop.reason == "top_2_gram"
