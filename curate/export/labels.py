"""The words by which `dialogue` knows speakers, question pages and questions, in small letters.

A pair of voices belongs to one language, so that "Client:" in a French dialogue meets "Conseiller:" and not
"Server:". Left out because they label other things as often: Input and Output (worked examples), Model and
Server (data sheets, protocols), C and S (mail protocols), Speaker, Host, Guest and names (plays, interviews).
"""

from __future__ import annotations

from typing import NamedTuple


def _listed(words: str) -> tuple[str, ...]:
    return tuple(words.split(", "))


class Voices(NamedTuple):
    """Two speakers who take turns, or the two halves of a pair.

    dialogue: a turn builds on those before it. asks: the first half is a question, and most have its mark.
    """

    user: tuple[str, ...]
    assistant: tuple[str, ...]
    dialogue: bool
    asks: bool
    system: tuple[str, ...] = ("system", "system prompt")


def _chat(user: str, assistant: str) -> Voices:
    return Voices(_listed(user), _listed(assistant), dialogue=True, asks=False)


def _pair(user: str, assistant: str, *, asks: bool = True) -> Voices:
    return Voices(_listed(user), _listed(assistant), dialogue=False, asks=asks)


VOICES = (
    _chat("user, human, you, you said", "assistant, ai, ai assistant, bot, chatbot, chatgpt, chatgpt said, claude, gemini, copilot, gpt"),
    _chat("customer, client, caller", "agent, support, support agent, advisor, representative, operator, assistant, bot"),
    _chat("benutzer, nutzer, kunde, kundin, mensch", "assistent, assistentin, berater, beraterin, mitarbeiter, mitarbeiterin, support"),
    _chat("utilisateur, utilisatrice, client, cliente", "assistant, assistante, conseiller, conseillère, agent"),
    _chat("usuario, usuaria, cliente, clienta", "asistente, agente"),
    _chat("utente, cliente", "assistente, operatore, operatrice, agente"),
    _chat("usuário, utilizador, cliente", "assistente, atendente, agente"),
    _chat("gebruiker, klant", "assistent, medewerker"),
    _chat("пользователь, клиент", "ассистент, помощник, оператор"),
    _chat("kullanıcı, müşteri", "asistan, temsilci"),
    _chat("用户, 用戶, 客户, 客戶, 顾客", "助手, 助理, 客服"),
    _chat("ユーザー, お客様", "アシスタント, オペレーター"),
    _chat("사용자, 고객", "어시스턴트, 상담원"),
    _chat("المستخدم, العميل", "المساعد, الموظف"),
    _pair("q, question", "a, answer"),
    _pair("instruction, prompt", "response, completion", asks=False),
    _pair("frage, f", "antwort, a"),
    _pair("question, q", "réponse, r"),
    _pair("pregunta, p", "respuesta, r"),
    _pair("domanda, d", "risposta, r"),
    _pair("pergunta, p", "resposta, r"),
    _pair("vraag, v", "antwoord, a"),
    _pair("вопрос, в", "ответ, о"),
    _pair("soru", "cevap, yanıt"),
    _pair("问, 问题, 問, 問題", "答, 回答, 答案"),
    _pair("質問, q", "回答, 答え, a"),
    _pair("질문, 문, q", "답변, 답, a"),
    _pair("س, السؤال, سؤال", "ج, الجواب, الإجابة"),
)  # fmt: skip
LABELS = frozenset(name for voices in VOICES for names in (voices.user, voices.assistant, voices.system) for name in names)  # fmt: skip

# What question pages call themselves, and the sections of a page that hold questions.
FAQ_NAMES = _listed(
    "faq, faqs, frequently asked questions, common questions, questions and answers, q&a, q & a, "
    "häufige fragen, häufig gestellte fragen, oft gestellte fragen, fragen und antworten, "
    "foire aux questions, questions fréquentes, questions et réponses, "
    "preguntas frecuentes, preguntas y respuestas, domande frequenti, domande e risposte, "
    "perguntas frequentes, perguntas e respostas, veelgestelde vragen, vragen en antwoorden, "
    "часто задаваемые вопросы, частые вопросы, вопросы и ответы, najczęściej zadawane pytania, "
    "ofte stillede spørgsmål, vanliga frågor, ofte stilte spørsmål, sık sorulan sorular, sıkça sorulan sorular, "
    "常见问题, 常見問題, よくある質問, 자주 묻는 질문, الأسئلة الشائعة, الأسئلة المتكررة"
)

# How questions begin that somebody looks up. "Is this the end?" and "Could it be?" are headlines as often.
ASKING = _listed(
    "how, how's, what, what's, why, when, where, who, whose, which, can i, can we, do i, do we, should i, should we, "
    "may i, am i, must i, will i, is there, are there, is it possible, does it, is it, "
    "wie, was, warum, weshalb, wieso, wann, wo, woher, wohin, womit, wofür, wodurch, wer, wem, wen, wessen, welche, "
    "welcher, welches, kann ich, muss ich, darf ich, soll ich, gibt es, "
    "comment, pourquoi, quand, où, qui, quoi, quel, quelle, quels, quelles, combien, que, qu'est-ce, qu’est-ce, "
    "puis-je, dois-je, peut-on, est-ce que, y a-t-il, à qui, à quoi, "
    "cómo, qué, por qué, cuándo, dónde, quién, quiénes, cuál, cuáles, cuánto, cuánta, cuántos, puedo, debo, hay, "
    "para qué, a quién, come, cosa, che cosa, che cos'è, cos'è, perché, quando, dove, chi, quale, quali, quanto, posso, devo, "
    "como, o que, que, por que, porque, onde, quem, qual, quais, quanto, hoe, wat, waarom, wanneer, waar, wie, welke, kan ik, "
    "moet ik, mag ik, как, что, почему, зачем, когда, где, кто, какой, какая, какие, сколько, можно ли, "
    "jak, co, dlaczego, kiedy, gdzie, kto, który, czy, hvordan, hvad, hvorfor, hvornår, hvor, hvem, hur, vad, varför, när, var, vem, "
    "كيف, ما, ماذا, لماذا, متى, أين, من, هل"
)
# Questions of languages in which the asking word stands anywhere.
ASKING_ANYWHERE = _listed(
    "什么, 什麼, 如何, 怎么, 怎麼, 怎样, 为什么, 為什麼, 哪里, 哪些, 是否, 多少, 吗, とは, 何, どう, なぜ, いつ, どこ, 誰, ですか, ますか, "
    "무엇, 어떻게, 왜, 언제, 어디, 누가, 나요, 까요, 인가, nedir, nasıl, neden, niçin, nerede, kimdir, hangi"
)
