"""Texts that rules should catch, by name: the smallest that each is known for, in no recipe's own words."""

from __future__ import annotations

_ENGLISH = (
    "The harbour opens early, and the boats leave before dawn. By noon the market hall is full of noise and salt, "
    "and visitors ask about the price of the morning catch. Nobody knows who painted the old door of the lighthouse."
)
_LANGUAGES = {
    "English": _ENGLISH,
    "German": "Der Hafen öffnet früh, und die Boote fahren vor der Dämmerung hinaus. Am Mittag ist die Markthalle voll von Lärm "
    "und Salz, und die Besucher fragen nach dem Preis des Fangs. Niemand weiß, wer die alte Tür gestrichen hat.",
    "French": "Le port ouvre tôt et les bateaux partent avant l'aube. À midi, la halle du marché est pleine de bruit et de sel, "
    "et les visiteurs demandent le prix de la pêche du matin. Personne ne sait qui a peint la vieille porte du phare.",
    "Spanish": "El puerto abre temprano y los barcos salen antes del amanecer. Al mediodía el mercado está lleno de ruido y de sal, "
    "y los visitantes preguntan por el precio de la pesca. Nadie sabe quién pintó la vieja puerta del faro.",
    "Russian": "Порт открывается рано, и лодки уходят до рассвета. К полудню рынок полон шума и соли, и гости спрашивают о цене "
    "утреннего улова. Никто не знает, кто покрасил старую дверь маяка, и вечером город снова становится тихим.",
    "Chinese": "港口很早就开放，船只在黎明前出海。到了中午，市场大厅里充满了喧闹声和咸味，游客们询问早晨渔获的价格。没有人知道是谁给灯塔的旧门刷了漆。晚上，小镇又安静下来。",
    "Japanese": "港は朝早く開き、船は夜明け前に出ていきます。昼には市場は人の声と潮の香りでいっぱいになり、客は朝の魚の値段をたずねます。灯台の古い扉を誰が塗ったのかは誰も知りません。",
    "Arabic": "يفتح الميناء باكرا وتغادر القوارب قبل الفجر. وعند الظهر تمتلئ قاعة السوق بالضجيج والملح، ويسأل الزوار عن ثمن صيد الصباح. "
    "ولا أحد يعرف من الذي دهن الباب القديم للمنارة، وفي المساء تعود المدينة هادئة من جديد.",
    "Hindi": "बंदरगाह सुबह जल्दी खुलता है और नावें भोर से पहले निकल जाती हैं। दोपहर तक बाज़ार शोर और नमक से भर जाता है और लोग सुबह की मछली का दाम "
    "पूछते हैं। कोई नहीं जानता कि पुराने दरवाज़े को किसने रंगा था।",
}
_CODE = (
    "function area(shape) {\n  if (shape === null) { return 0; }\n  const { width, height } = shape;\n"
    "  return width * height;\n}\n\nvar total = 0;\nfor (var i = 0; i < shapes.length; i++) {\n  total += area(shapes[i]);\n}\n"
)
LANGUAGE_NAMES = tuple(_LANGUAGES)


def canary_texts() -> dict[str, str]:
    """Name → text, each of a kind that some published rule is about."""
    sentence = _ENGLISH.split(". ")[0]
    words = _ENGLISH.split()
    return {
        "an empty text": "",
        "one word": "Hello",
        "a few words": "Click here to read more",
        "one letter a word": "a b c d e f g h i j " * 12,
        "very long words": " ".join("supercalifragilistic" * 3 for _ in range(60)),
        "one very long word": "x" * 2_000,
        "numbers only": "\n".join(f"{n} {n * 37} {n * 91}" for n in range(100, 160)),
        "hashes": " ".join(f"#tag{n} #" for n in range(60)),
        "bullets": "\n".join(f"- {words[n % len(words)]} {words[n * 7 % len(words)]} {n}" for n in range(60)),
        "lines that end in dots": "\n".join(f"{sentence} {n} ..." for n in range(40)),
        "ellipses": " ".join("and so on …" for _ in range(60)),
        "lines without a full stop": "\n".join(f"{' '.join(words[n : n + 6])} {n}" for n in range(30)),
        "short lines": "\n".join(f"{words[n % len(words)]} {n}" for n in range(120)),
        "a line again and again": f"{sentence} and so it goes.\n" * 60,
        "a paragraph again and again": f"{_ENGLISH}\n\n" * 30,
        "a word again and again": "buy " * 400,
        "a phrase again and again": "buy cheap boats now " * 100,
        "no white space": _ENGLISH.replace(" ", "") * 20,
        "no stop words": " ".join(word for word in words if len(word) > 4) * 10,
        "no letters": "!?&%$§ *** --- === ~~~ " * 60,
        "capitals": f"{_ENGLISH.upper()} " * 5,
        "code": _CODE * 6,
        "JavaScript is off": f"{_ENGLISH} Please enable JavaScript to use this site. {_ENGLISH}",
        "cookies": f"This site uses cookies. Read our cookie policy, privacy policy and terms of use. {sentence}.",
        "lorem ipsum": "Lorem ipsum dolor sit amet, consectetur adipiscing elit, sed do eiusmod tempor incididunt ut labore. "
        * 5,
        "markup": "<div class='a'><p>&nbsp;&lt;b&gt;</p></div> " * 60,
        "addresses only": "\n".join(f"https://www.example.org/page/{n}?q={n * 7}" for n in range(60)),
        "broken characters": "DerÂ HafenÃ¶ffnet frÃ¼h â€“ und die Boote fahren " * 20,
        "a very long document": "\n".join(f"{_ENGLISH} {n}" for n in range(3_000)),
        **{f"{name} text": text for name, text in _LANGUAGES.items()},
    }
