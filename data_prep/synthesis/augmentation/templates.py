"""Paraphrase templates: the same question in another frame ("Can you tell me ...", "Please answer: ...").

An indirect frame needs the question in the order of a statement: "When does the blue poppy bloom?" -> "Can you tell me
when the blue poppy blooms?". It is used only where the grammar is certain ("What is X?", "do" and "does", a question
word that is the subject); other questions get direct frames ("I have a question: ..."). Texts that are no question get
the frames for requests if they begin with a verb that asks for something ("Describe ..."), else nothing.

`frames` in a recipe replaces ours: texts with {question} (as it stands) or {indirect}.

Left out: other languages, and paraphrases that change the question's own words (see eda, back_translation).
"""

from __future__ import annotations

import re

from pydantic import Field, field_validator

from data_prep.synthesis.augmentation import Candidate, Context, Method, MethodSettings, Origin, one_by_one

NEEDS_GENERATOR = False
DIRECT = (
    "I have a question: {question}", "{question} Please answer.", "Quick question: {question}", "Hello! {question}",
    "{question} Thanks in advance!", "Please answer this: {question}", "Here is what I want to know: {question}",
)  # fmt: skip
INDIRECT = (
    "Can you tell me {indirect}?", "Could you please tell me {indirect}?", "Tell me {indirect}.",
    "I would like to know {indirect}.", "Do you know {indirect}?", "Please tell me {indirect}.",
    "Please explain {indirect}.", "I wonder {indirect}.",
)  # fmt: skip
REQUEST = ("Please {request}.", "Could you {request}?", "I would like you to {request}.", "Can you {request}?")
_ASKS = re.compile(
    r"^(?:describe|explain|list|name|give|write|summari[sz]e|translate|tell|show|compare|find|suggest|create|make|define"
    r"|identify|classify|rewrite|generate|provide|calculate|outline|propose|discuss|answer|draft|state|recommend)\b",
    re.IGNORECASE,
)
_BE = re.compile(
    r"^(?P<wh>what|who|where|when|how|why|what (?:color|colour|kind|sort|size)) (?P<be>is|are|was|were) (?P<rest>.+)$",
    re.IGNORECASE,
)
# What may stand behind the subject: "How is the fern | watered", "What is the fern | used for".
_TAIL = re.compile(
    r"^(?P<np>.+?) (?P<tail>(?:\w+ed|made|grown|kept|found|held|built|given|taken|known|written|paid|sold|born|spread)"
    r"\b.*)$"
)
_DO = re.compile(r"^(?P<wh>(?:what|who|where|when|how|why|which)(?: \w+){0,3}?) (?P<do>do|does) (?P<rest>.+)$", re.I)
_SUBJECT = re.compile(r"^(?:who|what|which(?: \w+){1,3}|how many(?: \w+){1,3}) (?P<verb>\w+)\b", re.IGNORECASE)
_AUXILIARY = re.compile(
    r"\b(?:is|are|was|were|do|does|did|can|could|will|would|should|shall|has|have|had|may|might|must)\b", re.IGNORECASE
)
_VERBS = (
    "need want like cost grow bloom flower cause affect mean keep take open close live come contain work have use get"
    " belong require happen occur start begin end stand drink eat look become help make produce last include provide go"
    " depend lead prefer feel smell taste sleep sit lie stay hold give treat"
).split()


class Settings(MethodSettings):
    """Question frames."""

    frames: list[str] = Field(default_factory=list, description="Instead of ours: {question} or {indirect} in each.")

    @field_validator("frames")
    @classmethod
    def _filled(cls, frames: list[str]) -> list[str]:
        for frame in frames:
            if frame.count("{question}") + frame.count("{indirect}") != 1:
                raise ValueError(f"the frame {frame!r} must hold {{question}} or {{indirect}}, once")
            if re.search(r"[{}]", frame.replace("{question}", "").replace("{indirect}", "")):
                raise ValueError(f"the frame {frame!r} holds other braces than those of {{question}} or {{indirect}}")
        return frames


def build(settings: Settings, context: Context) -> Method:
    """Return the method; the copies of a row get different frames."""

    def reword(origin: Origin, copy: int) -> Candidate | None:
        frames = fitting(origin.text, settings.frames)
        context.chance(origin.id).shuffle(frames)
        return Candidate(frames[copy]) if copy < len(frames) else None

    return one_by_one(context, settings, reword)


def fitting(text: str, frames: list[str]) -> list[str]:
    """Return the text in every frame that fits it."""
    text = " ".join(text.split())
    indirect = indirect_question(text)
    if text.endswith("?") or frames:
        known = frames or [*DIRECT, *INDIRECT]
        filled = [frame.replace("{question}", text) for frame in known if "{question}" in frame]
        return filled + [frame.replace("{indirect}", indirect) for frame in known if "{indirect}" in frame and indirect]
    if _ASKS.match(text) and "\n" not in text and not re.search(r"[.!?:;]", text[:-1]):
        request = (text[0].lower() + text[1:]).rstrip(".! ")
        return [frame.replace("{request}", request) for frame in REQUEST]
    return []


def indirect_question(text: str) -> str | None:
    """Return a question in the order of a statement, without its mark; None where the grammar is not certain."""
    if not text.endswith("?") or re.search(r"[.!?;:\n]", text[:-1]):
        return None
    asked = text[:-1].strip()
    if match := _BE.match(asked):
        found = _after_be(match)
    elif match := _DO.match(asked):
        found = _without_do(match)
    elif (match := _SUBJECT.match(asked)) and not _AUXILIARY.search(asked[: match.end() + 40]):
        found = asked
    else:
        found = None
    return found and found[0].lower() + found[1:]


def _after_be(match: re.Match[str]) -> str | None:
    """what is X -> what X is; how is X treated -> how X is treated."""
    wh, be, rest = match["wh"], match["be"], match["rest"]
    tail = _TAIL.match(rest)
    # "What are the changes related to X": the participle belongs to the subject.
    if tail and (wh.lower() != "what" or re.match(r"(?:used|made|called|known)\b", tail["tail"])):
        return f"{wh} {tail['np']} {be} {tail['tail']}"
    if wh.lower() in ("how", "why") or len(rest.split()) > 6 or re.search(r"\b(?:to|that|which|who)\b", rest):
        return None
    # "used for", "like": a preposition at the end belongs behind the verb.
    last = re.match(r"^(?P<np>.+?) (?P<tail>(?:\w+ )?(?:for|like|from|about|of))$", rest)
    return f"{wh} {last['np']} {be} {last['tail']}" if last else f"{wh} {rest} {be}"


def _without_do(match: re.Match[str]) -> str | None:
    """when do X bloom -> when X bloom; when does X bloom -> when X blooms."""
    if match["do"].lower() == "do":
        return f"{match['wh']} {match['rest']}"
    words = match["rest"].split()
    place = next((at for at, word in enumerate(words) if at and word in _VERBS), None)
    if place is None:
        return None
    words[place] = third_person(words[place])
    return f"{match['wh']} {' '.join(words)}"


def third_person(verb: str) -> str:
    """Return the form for he, she, it."""
    if verb == "have":
        return "has"
    if re.search(r"(?:s|x|z|ch|sh|o)$", verb):
        return verb + "es"
    return verb[:-1] + "ies" if re.search(r"[^aeiou]y$", verb) else verb + "s"
