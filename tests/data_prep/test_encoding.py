"""Bytes of every usual encoding become the text they stand for; text that was read wrongly is put right."""

from __future__ import annotations

import ftfy.bad_codecs
import pytest

from data_prep.files.decoding import Unreadable, decode
from data_prep.files.legacy_encodings import encoding_of, wide_encoding_of
from data_prep.filters.encoding import repair

GERMAN = (
    "Schöne Grüße aus Köln: wir hören, dass die Straße über Nacht gesperrt würde.\nÄußerst ärgerlich für Fußgänger."
)
FRENCH = "L'été dernier, Élodie a préféré rester à côté de la forêt où le garçon avait déjà vécu."
POLISH = "Wszyscy ludzie rodzą się wolni i równi pod względem swej godności; są oni obdarzeni rozumem."
CZECH = "Všichni lidé se rodí svobodní a sobě rovní co do důstojnosti a práv, kůň běží přes žluté pole."
HUNGARIAN = "Minden emberi lény szabadon születik, és egyenlő méltósága és joga van; az emberek gyűlnek az erdőnél."
RUSSIAN = "Все люди рождаются свободными и равными в своем достоинстве и правах, они наделены разумом."
UKRAINIAN = "Всі люди народжуються вільними і рівними у своїй гідності та правах, їх наділено розумом."
GREEK = "Όλοι οι άνθρωποι γεννιούνται ελεύθεροι και ίσοι στην αξιοπρέπεια και τα δικαιώματα."
HEBREW = "כל בני האדם נולדו בני חורין ושווים בערכם ובזכויותיהם, כולם חוננו בתבונה ובמצפון."
ARABIC = "يولد جميع الناس أحرارا متساوين في الكرامة والحقوق، وقد وهبوا عقلا وضميرا وعليهم أن يعامل بعضهم بعضا."
TURKISH = "Bütün insanlar hür, haysiyet ve haklar bakımından eşit doğarlar; akıl ve vicdana sahiptirler, çalışırlar."
LITHUANIAN = "Visi žmonės gimsta laisvi ir lygūs savo orumu ir teisėmis, jiems suteiktas protas ir sąžinė, šūkis."
THAI = "มนุษย์ทั้งหลายเกิดมามีอิสระและเสมอภาคกันในเกียรติศักดิ์และสิทธิ"
JAPANESE = "すべての人間は、生まれながらにして自由であり、かつ、尊厳と権利とについて平等である。"
CHINESE = "人人生而自由，在尊严和权利上一律平等。他们赋有理性和良心，并应以兄弟关系的精神相对待。"
TRADITIONAL = "人人生而自由，在尊嚴和權利上一律平等。他們賦有理性和良心，並應以兄弟關係的精神相對待。"
KOREAN = "모든 인간은 태어날 때부터 자유로우며 그 존엄과 권리에 있어 동등하다."

LEGACY = [
    (GERMAN, "cp1252"), (GERMAN, "cp850"), (GERMAN, "mac_roman"), (FRENCH, "latin-1"), (POLISH, "iso8859_2"),
    (POLISH, "cp1250"), (CZECH, "cp1250"), (CZECH, "iso8859_2"), (HUNGARIAN, "cp1250"), (RUSSIAN, "cp1251"),
    (RUSSIAN, "koi8_r"), (RUSSIAN, "iso8859_5"), (RUSSIAN, "cp866"), (UKRAINIAN, "cp1251"), (UKRAINIAN, "koi8_u"),
    (GREEK, "cp1253"), (GREEK, "iso8859_7"), (HEBREW, "cp1255"), (ARABIC, "cp1256"), (ARABIC, "iso8859_6"),
    (TURKISH, "cp1254"), (LITHUANIAN, "cp1257"), (THAI, "cp874"), (JAPANESE, "shift_jis"), (JAPANESE, "euc_jp"),
    (JAPANESE, "iso2022_jp"), (CHINESE, "gb18030"), (CHINESE, "gbk"), (TRADITIONAL, "big5"), (KOREAN, "euc_kr"),
]  # fmt: skip
TEXTS = [GERMAN, FRENCH, POLISH, RUSSIAN, GREEK, HEBREW, ARABIC, THAI, JAPANESE, CHINESE, KOREAN, "plain words"]


@pytest.mark.parametrize(("text", "codec"), LEGACY, ids=[f"{text[:6]} {codec}" for text, codec in LEGACY])
def test_legacy_encodings_are_told(text: str, codec: str) -> None:
    assert decode(text.encode(codec)) == text


@pytest.mark.parametrize("codec", ["utf-16-le", "utf-16-be", "utf-32-le", "utf-32-be", "utf-8-sig", "utf-16", "utf-32"])
@pytest.mark.parametrize("text", TEXTS)
def test_wide_encodings_with_and_without_a_mark(text: str, codec: str) -> None:
    long = f"{text}\n{text} 12\n"  # white space and digits hold the NUL bytes that give these away
    assert decode(long.encode(codec)) == long


def test_binary_data_stay_unreadable() -> None:
    import random

    draw = random.Random(0)
    for size in (16, 17, 1000, 4096):
        data = bytes(draw.randrange(256) for _ in range(size)) + b"\0\1\2\0"
        assert wide_encoding_of(data) == ""
        with pytest.raises(Unreadable, match="binary data"):
            decode(data)
    with pytest.raises(Unreadable, match="binary data"):
        decode(b"GIF89a\0\1\0\1")


def test_lines_in_utf8_and_in_a_legacy_encoding_of_one_file() -> None:
    lines = [CZECH, FRENCH, CZECH, "plain", GREEK]
    codecs = ["cp1250", "utf-8", "cp1250", "ascii", "utf-8"]
    data = b"\r\n".join(line.encode(codec) for line, codec in zip(lines, codecs, strict=True))
    assert decode(data) == "\r\n".join(lines)


def test_little_evidence_leaves_windows_1252() -> None:
    for text in (
        "café",
        "naïve",
        "Müller",
        "señor",
        "“quotes” – it’s",
        "déjà vu",
        "10 €",
        "50 °C ± 2 µm",
        "© 2020",
        "Ærø",
    ):
        assert decode(text.encode("cp1252")) == text
        assert encoding_of(text.encode("cp1252")) == "cp1252"
    assert encoding_of(b"") == "cp1252"
    assert decode(b"\x81 \xe9") == "\x81 é"  # undefined in Windows-1252


def test_western_text_with_the_signs_of_big5() -> None:
    text = "The nation’s promise—freedom—is “here”, and the people’s hope. " * 2
    assert decode(text.encode("big5")) == text
    spanish = "¡Hola! ¡Buenos días! ¡Vamos! ¡Venga! ¡Olé! ¿Qué tal?"
    assert decode(spanish.encode("cp1252")) == spanish
    plain = "¡Hola! ¡Vamos! ¡Venga! ¡Salta! ¡Canta!"
    assert decode(plain.encode("cp1252")) == plain


def test_utf8_with_damage_is_still_utf8() -> None:
    data = RUSSIAN.encode()
    assert decode(data[:-2]) == RUSSIAN[:-2] + "\ufffd"  # cut inside its last letter
    place = len("Все люди ".encode())
    assert decode(data[:place] + b"\xff" + data[place:]) == RUSSIAN.replace("люди ", "люди \ufffd")


# --- repair

ftfy.bad_codecs.ok()  # registers codecs that read every byte, as browsers do


@pytest.mark.parametrize("codec", ["cp1252", "latin-1", "cp1251", "mac_roman", "cp437", "cp1250"])
@pytest.mark.parametrize("text", [GERMAN, FRENCH, POLISH, TURKISH, RUSSIAN, GREEK])
def test_utf8_read_in_another_encoding_is_put_right(text: str, codec: str) -> None:
    try:
        damaged = text.encode().decode(f"sloppy-windows-{codec[2:]}" if codec.startswith("cp12") else codec)
    except UnicodeDecodeError:
        pytest.skip("that encoding lacks a byte of it")
    assert damaged != text
    assert repair(f"sound\n{damaged}\nlines") == f"sound\n{text}\nlines"


def test_sound_text_is_not_touched() -> None:
    for text in (
        *TEXTS,
        CZECH,
        UKRAINIAN,
        TURKISH,
        "«Да…» — «Группа С», и… №5",
        "С» и Р’",
        "AÃO, ÂNGELO, “É…”",
        "Ã‰"[:1],
    ):
        assert repair(text) == text
