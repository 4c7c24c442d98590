"""Remove lines that a page's template writes, whatever the page is about: cookie notices, "share this", "back to top".

Only whole short lines go, and only those that match one of the patterns below from end to end, in English, German,
French or Spanish; `patterns` adds more. So a sentence about cookies or copyright inside a paragraph stays. Lines that
are not universal but repeat across a site are the filter `boilerplate`'s.
"""

from __future__ import annotations

import re

from pydantic import Field, field_validator

from data_prep.filters import Check, Drop
from data_prep.records import Document
from recipes.sections import Section

ORDER = 42

_END = r"[\s.!…»›>→]*"
_NETWORK = r"(?:facebook|twitter|x|linkedin|pinterest|reddit|whatsapp|instagram|e-?mail|tumblr|telegram|youtube)"
_BUTTON = r"(?:tweet|share|like|pin|e-?mail|print)"
_NAVIGATION = (
    r"(?:home|about(?: us)?|contact(?: us)?|privacy(?: policy| notice)?|cookies?(?: policy| settings)?|imprint|careers|"
    r"terms(?: (?:of (?:use|service)|(?:and|&) conditions))?|site ?map|accessibility|disclaimer|legal(?: notice)?|"
    r"help|faqs?|log ?in|sign ?in|sign ?up|register|search|menu|advertise|press|"
    r"impressum|datenschutz(?:erklärung)?|agb|kontakt|mentions légales|politique de confidentialité|aviso legal|"
    r"política de (?:privacidad|cookies))"
)
# A word that must be in the text, folded, for the pattern to be worth trying on its lines; then the pattern.
PATTERNS: tuple[tuple[str, str], ...] = (
    ("rights reserved", r"(?:[^.]{0,80}[.,|–-] ?)?all rights reserved(?: (?:to|by|worldwide)[^.]{0,60})?"),
    ("alle rechte", r"(?:[^.]{0,80}[.,|–-] ?)?alle rechte vorbehalten"),
    ("droits réservés", r"(?:[^.]{0,80}[.,|–-] ?)?tous droits réservés"),
    ("derechos reservados", r"(?:[^.]{0,80}[.,|–-] ?)?todos los derechos reservados"),
    ("©", r"(?:copyright )?© ?(?:copyright )?(?:\d{4}(?: ?[-–] ?\d{2,4})?)[^.]{0,80}(?:\. ?all rights reserved)?"),
    ("copyright", r"copyright (?:\(c\) ?)?(?:\d{4}(?: ?[-–] ?\d{2,4})?)(?: by)?[^.]{0,80}(?:\. ?all rights reserved)?"),
    ("cookies", r"(?:this|our|the) (?:web ?)?site (?:also )?uses cookies\b.{0,200}"),
    ("cookies", r"we (?:and our partners )?use (?:\w+ )?cookies\b.{0,200}"),
    ("cookies", r"by (?:continuing|using|browsing|clicking)\b.{0,80}\b(?:agree|consent|accept)\b.{0,40}\bcookies\b"
                r".{0,80}"),
    ("cookie", r"(?:accept|reject|decline|manage|allow)(?: all)? cookies?(?: (?:settings|preferences))?"),
    ("cookie", r"cookie (?:settings|preferences|notice|consent)"),
    ("cookies", r"(?:diese|unsere) (?:web)?(?:site|seite) (?:verwendet|nutzt) cookies\b.{0,200}"),
    ("cookies", r"(?:ce|notre) site (?:web )?utilise des cookies\b.{0,200}"),
    ("cookies", r"(?:este|nuestro) sitio (?:web )?(?:utiliza|usa) cookies\b.{0,200}"),
    ("share", r"share (?:this|on|via|with)(?: (?:this|article|page|post|story|link|with friends|on|via|to))*"
              rf"(?:[ ,:|]*(?:on |via |to |and |or )?{_NETWORK})*"),
    ("share", rf"{_BUTTON}(?:[ ,|·/]+{_BUTTON})+"),
    ("tweet", r"tweet(?: this)?"),
    ("follow us", rf"follow us(?: on)?(?:[ ,:|&]*(?:and |or )?{_NETWORK})*"),
    ("like us", r"like us on facebook"),
    ("teilen", rf"(?:artikel |seite |beitrag )?teilen(?: (?:auf|mit|via|über) {_NETWORK})?"),
    ("partager", rf"partager(?: (?:cet article|cette page))?(?: (?:sur|par) {_NETWORK})?"),
    ("compartir", rf"compartir(?: (?:este artículo|esta página))?(?: (?:en|por) {_NETWORK})?"),
    ("more", r"(?:read|learn|show|view|see|load|find out) more(?: (?:about us|articles|posts|comments|here))?"),
    ("weiterlesen", r"weiterlesen"),
    ("skip to", r"skip to (?:the )?(?:main )?(?:content|navigation|menu|search)"),
    ("to top", r"(?:back|return|go|scroll) to (?:the )?top(?: of (?:the )?page)?"),
    ("nach oben", r"(?:zurück )?nach oben"),
    ("subscribe", r"subscribe(?: now| today)?(?: to| for)? (?:our|the|my) (?:\w+ ){0,2}newsletters?\b.{0,60}"),
    ("newsletter", r"sign up(?: now| today)? (?:for|to) (?:our|the|my) (?:\w+ ){0,2}newsletters?\b.{0,60}"),
    ("advertis", r"advertisements?|advertising|(?:continue reading|story continues) below advertisement"),
    ("sponsored", r"sponsored(?: content| links?| post)?"),
    ("leave a", r"leave a (?:comment|reply)(?: cancel reply)?"),
    ("your email", r"your e-?mail address will not be published\b.{0,60}"),
    ("log", r"(?:please |you must (?:be )?)(?:log(?:ged)? ?in|sign ?in)(?: or (?:register|sign up))? to "
               r"(?:post|leave|reply|comment|view|continue)\b.{0,60}"),
    ("javascript", r"(?:please |you (?:need|have) to )?(?:enable|turn on|activate) javascript\b.{0,80}"),
    ("javascript", r"(?:this (?:site|page)|javascript) (?:requires|is required|is disabled|must be enabled)\b.{0,80}"),
    ("browser", r"your browser (?:does not|doesn't|is not|isn't) (?:support|supported)\b.{0,80}"),
    ("powered by", r"(?:proudly )?powered by (?:wordpress|blogger|drupal|joomla|shopify|squarespace|wix|mediawiki|"
                   r"vbulletin|phpbb)\b.{0,40}"),
    ("click here", r"click here(?: (?:to|for) (?:\w+ ){0,5}\w+)?"),
    ("print", r"(?:print|e-?mail|download) this (?:page|article|post)|printer[- ]friendly(?: version)?"),
    ("page", r"page \d+ (?:of|/) \d+"),
    ("", rf"{_NAVIGATION}(?:\s*[|·•/–]\s*{_NAVIGATION})+"),
)  # fmt: skip


class Settings(Section):
    """What is a template's line."""

    patterns: list[str] = Field(default_factory=list, description="More regular expressions for whole lines, any case.")
    max_characters: int = Field(default=250, ge=1, description="Longer lines are never a template's.")

    @field_validator("patterns")
    @classmethod
    def _compile(cls, value: list[str]) -> list[str]:
        for pattern in value:
            try:
                re.compile(pattern)
            except re.error as error:
                raise ValueError(f"{pattern!r} is no regular expression ({error})") from None
        return value


def build(settings: Settings) -> Check:
    """Return a repair that drops what was nothing but a template."""
    rules = [(word, re.compile(rf"\W*(?:{pattern}){_END}")) for word, pattern in PATTERNS]
    rules += [("", re.compile(pattern, re.IGNORECASE)) for pattern in settings.patterns]

    def check(document: Document) -> Drop | None:
        folded = document.text.lower()
        tried = [pattern for word, pattern in rules if word in folded]
        lines = document.text.split("\n")
        kept = [line for line in lines if not _matches(line, tried, settings.max_characters)]
        if len(kept) < len(lines):
            document.meta["template_lines_removed"] = len(lines) - len(kept)
            document.text = re.sub(r"\n{3,}", "\n\n", "\n".join(kept)).strip()
        return None if document.text else Drop("template_lines", "every line is a template's")

    return check


def _matches(line: str, patterns: list[re.Pattern[str]], longest: int) -> bool:
    if not line or len(line) > longest:
        return False
    folded = line.lower()
    return any(pattern.fullmatch(folded) for pattern in patterns)
