"""What a text says to the model that reads it, instead of saying what its tool does.

The kinds are those that scanners of MCP servers and the literature on tool poisoning name (Invariant Labs' first report
of April 2025, CyberArk's full-schema poisoning, OWASP's and SAFE-MCP's catalogues); the rules are our own. `MARKING`
are few and sure, since they are held against every text. `ADDED` are held only against what a change brings in, where a
false alarm costs one look, and something missed costs more.
"""

from __future__ import annotations

import re
from collections.abc import Iterator
from dataclasses import dataclass

_TOOLS = r"(?:tools?|functions?|commands?|actions?|operations?|requests?|quer(?:y|ies)|tasks?|steps?|calls?)"
_RULES = (
    r"(?:instructions?|rules?|guidelines?|guardrails?|polic(?:y|ies)|prompts?|restrictions?|directives?|"
    r"constraints?|safeguards?|safety|context|messages?|programming)"
)
_EARLIER = (
    r"(?:previous|prior|above|earlier|preceding|existing|all|any|other|your|its|these|those|system|safety|security|"
    r"content|original|initial|default|foregoing|the user's|everything)"
)
_TELL = (
    r"(?:tell(?:ing)?|mention(?:ing|ed)?|inform(?:ing)?|reveal(?:ing)?|disclos(?:e|ing)|show(?:ing)?|notify(?:ing)?|"
    r"alert(?:ing)?|ask(?:ing)?|report(?:ing)?|warn(?:ing)?|explain(?:ing)?|discuss(?:ing)?|acknowledg(?:e|ing)|"
    r"display(?:ing)?|confirm(?:ing)?|let(?:ting)?)"
)
_PEOPLE = r"(?:users?|humans?|anyone|anybody|persons?|people|operators?|customers?|owners?|them|him|her)"
_NOT = r"(?:do not|don't|never|must not|mustn't|should not|shouldn't|without|avoid|refrain from|no need to)"
_SEND = (
    r"(?:send|forward|upload|post|e-?mail|transmit|copy|share|pass|include|attach|append|exfiltrate|leak|submit|sync|"
    r"publish|bcc|cc|deliver|relay|transfer|supply|provide|insert|put|place|paste|embed|add|encode|write|save|"
    r"store|log)"
)
_AROUND = (
    r"(?:conversations?|chats?|dialog(?:ue)?s?|messages?|transcripts?|prompts?|history|context|secrets?|passwords?|"
    r"credentials?|keys?|tokens?|cookies?|everything|environment|variables?|contents? of|files? contents?|"
    r"contents?|whole|entire|full|complete|verbatim)"
)
_IMPERATIVES = (
    r"(?:use|call|run|read|send|pass|include|prefer|invoke|execute|open|write|copy|provide|add|append|attach|forward|"
    r"upload|post|fetch|check|verify|set|put|say|tell|ask|reply|respond|answer|repeat|follow|choose|avoid|skip|stop|"
    r"wait|ignore|treat|consider|assume|remember|store|save|keep|load|try|start|begin|continue|download|install|visit|"
    r"click|go|navigate|reveal|print|output|encode|decode|delete|remove|drop|act|behave|pretend|trust|obey|disable|"
    r"enable|obtain|gather|collect|locate|look|inspect|dump|cat|list|summari[sz]e|insert|paste|embed|supply|proceed|"
    r"act|approve|confirm|grant|allow|leave|do|make|be|let|give|get|take|note|report|share|redirect|replace|switch)"
)


@dataclass(frozen=True)
class Rule:
    """`code` is for machines, `says` for people: what a text does that the rule finds."""

    code: str
    says: str
    pattern: re.Pattern[str]


def _rule(code: str, says: str, *patterns: str) -> Rule:
    return Rule(code, says, re.compile("|".join(patterns), re.IGNORECASE | re.MULTILINE))


MARKING: tuple[Rule, ...] = (
    _rule(
        "overrides",
        "sets other instructions aside",
        rf"\b(?:ignor(?:e|ing)|disregard(?:ing)?|forget|overrid(?:e|es|ing)|overrul(?:e|es|ing)|bypass(?:ing)?|"
        rf"supersed(?:e|es|ing)|takes? precedence over|pay no (?:attention|heed) to)\b[^.\n]{{0,30}}\b{_EARLIER}\W+"
        rf"(?:\w+\W+){{0,2}}?{_RULES}\b",
        r"\b(?:ignorier\w*|missacht\w*|vergiss|ignorez|oublie[rz]?|ignora\w?|olvid[ae]\w*|ignore)\b[^.\n]{0,50}\b"
        r"(?:anweisung\w*|regeln|instrucciones|reglas|consignes|règles|regles|istruzioni|regole|instruções|instrucoes)",
        r"(?:忽略|无视|忘记|無視|忽視)[^。\n]{0,20}(?:指令|指示|说明|规则|規則|提示)|игнорируй\w*|забудь[^.\n]{0,40}инструкц\w*",
        r"\bnew (?:system )?(?:instructions?|directives?)\s*:",
    ),
    _rule(
        "conceals",
        "wants something kept from the user",
        rf"\b{_NOT}[^\w.\n]+(?:\w+[^\w.\n]+){{0,3}}?{_TELL}\b[^.\n]{{0,50}}\b{_PEOPLE}\b",
        rf"\b{_NOT}\W+(?:mention|reveal|disclose|acknowledge)(?:ing)?\b[^.\n]{{0,20}}\b(?:this|that|it|these|any of)\b",
        r"\bkeep (?:this|it|that|these)\b[^.\n]{0,25}\b(?:secret|hidden|private|confidential|between us|to yourself)\b",
        rf"\b(?:hide|hidden|conceal(?:ed)?)\b[^.\n]{{0,40}}\bfrom (?:the |its |your )?{_PEOPLE}\b",
        rf"\b{_PEOPLE} (?:must|should|need|may|does|do|will)(?: not|n't) (?:know|see|notice|be (?:told|aware|"
        rf"informed))",
        r"\b(?:secretly|covertly|surreptitiously|behind the (?:scenes|user's back)|unbeknownst)\b",
        r"\b(?:silently|quietly|discreetly)\b[^.\n]{0,12}\b(?:read|send|call|add|copy|include|forward|upload|pass|run)",
        r"(?:不要|无需|別|别)[^。\n]{0,8}(?:告诉|告知|提及|通知)[^。\n]{0,8}(?:用户|使用者)|не (?:говори|сообщай)\w*",
    ),
    _rule(
        "speaks_as_system",
        "is made to look like words of the system",
        r"<\s*/?\s*(?:important|system|instructions?|secret|hidden|critical|urgent|assistant|mandatory|directives?|"
        r"override|system[-_ ](?:reminder|prompt|message|note)|internal|admin|developer)\b[^>\n]{0,40}>",
        r"\[/?(?:INST|SYSTEM|SYS|IMPORTANT|HIDDEN|ADMIN)\]|<\|[\w ]{1,30}\|>|<<\s*/?\s*SYS\s*>>|\{\{\s*system\b",
        r"^\W{0,4}(?:system|assistant|developer|human)(?: (?:prompt|message|note|override))?\s*:\s*\w",
        r"^#{1,6}\s*(?:system|instructions? (?:for|to) (?:the )?(?:ai|model|assistant|agent|llm))",
        r"<!--",
    ),
    _rule(
        "orders_tools",
        "says in what order other tools are used",
        rf"\b(?:before|prior to|instead of|rather than|after|in place of)\b[^.\n]{{0,25}}\b(?:any|every|all|"
        rf"each|other)\b"
        rf"[^.\n]{{0,12}}\b{_TOOLS}\b",
        rf"\b(?:always|must|mandatory|required|essential)\b[^.\n]{{0,20}}\b(?:call|use|run|invoke|execute|consult)\w*\b"
        rf"[^.\n]{{0,20}}\b(?:this|it)\b(?: {_TOOLS})?[^.\n]{{0,20}}\b(?:first|before|immediately|always|initially)\b",
        r"\b(?:do not|don't|never)\b[^.\n]{0,10}\b(?:call|use|run|invoke|execute)\b[^.\n]{0,15}\bother\b",
        rf"\bthis {_TOOLS} (?:(?:will|does|can)(?: not|n't) work|(?:will )?fails?|breaks?)\b[^.\n]{{0,15}}\b"
        r"(?:unless|without|otherwise|until)\b",
        r"\botherwise[, ]+(?:the|this) tool\b[^.\n]{0,20}\b(?:not work|fails?|break)",
    ),
    _rule(
        "commands",
        "tells its reader what it must do",
        r"\byou (?:must|shall|have to|are (?:required|instructed|ordered|obliged) to|will (?:now|always|never))\b",
        r"\byou should (?:always|never|also|first|immediately|silently)\b",
    ),
    _rule(
        "speaks_to_reader",
        "speaks to the model, or of what it was told",
        r"\b(?:your|the|its) (?:system|initial|original|hidden) prompts?\b|\bchain[- ]of[- ]thought\b",
        r"\b(?:conversation|chat|message|dialog(?:ue)?) (?:history|transcript|so far|context)\b",
        r"\b(?:entire|whole|full|complete) (?:conversation|chat|context window|prompt)\b",
        r"\b(?:dear|attention|note (?:to|for)|instructions? (?:to|for)|message (?:to|for))\W+(?:the |any |all )?"
        r"(?:ai|llms?|models?|assistants?|agents?|claude|chatgpt|copilot|gemini)\b",
        r"\b(?:as|being) an? (?:ai|llm|language model|assistant)\b|\byou are (?:now )?(?:an?|in|the) "
        r"(?:ai|llm|assistant|agent|developer mode|dan|root|admin\w*)\b",
    ),
    _rule(
        "names_secret_place",
        "names a place where secrets lie",
        r"\bid_(?:rsa|dsa|ecdsa|ed25519)\b|\.(?:ssh|aws|gnupg|kube)/|/etc/(?:passwd|shadow|sudoers)\b",
        r"(?<![\w.])\.(?:netrc|npmrc|pypirc|pgpass|git-credentials|bash_history|zsh_history|vault-token)\b",
        r"(?:\.cursor|\.claude|\.vscode|claude_desktop)\S{0,12}\.json\b|\.claude\.json\b",
    ),
)
ADDED: tuple[Rule, ...] = (
    *MARKING,
    _rule(
        "commands",
        "tells its reader what to do",
        r"\b(?:must|always|never|shall|should|do not|don't|make sure|be sure|ensure|ensuring|remember|"
        r"required to|need(?:s|ed)? to|ha(?:s|ve|d) to|be careful|be aware|in all cases|without exception)\b",
        r"\b(?:important|crucial|critical|essential|mandatory|obligatory|imperative|urgent|compulsory|vital)\b",
        r"\b(?:ignor(?:e|ing)|disregard\w*|forget\w*|overrul\w*|bypass\w*|supersed\w*|pretend\w*|obey\w*)\b",
        r"\b(?:secretly|silently|quietly|covertly|discreetly|invisibly|confidential\w*|unnoticed|unprompted)\b",
        r"\b(?:without (?:\w+ ){0,2}?(?:asking|telling|notif\w+|inform\w+|mention\w*|confirm\w*|approval|permission|"
        r"consent|review|knowledge)|on (?:the )?users?'?s? behalf|automatically (?:approve|accept|confirm)\w*)\b",
    ),
    _rule(
        "orders_tools",
        "says when, or before what, it is used",
        r"\b(?:before|after|prior to|whenever|every time|each time|once)\b[^.\n]{0,20}\b(?:us(?:e|ed|ing)|"
        r"call\w*|invok\w*|"
        r"runn?(?:ing)?|execut\w*|answer\w*|respond\w*|reply\w*|you|this tool|any|every|each|other|another)\b",
        r"\b(?:first|next|then|instead|afterwards?),? (?:you )?(?:call|use|run|read|invoke|fetch|open|execute|"
        r"send|pass)\b",
        r"\b(?:instead of|rather than|in place of|in preference to|over (?:any|all|every)? ?other|preferred over)\b",
        r"\b(?:best|only|preferred|recommended|safest|official|trusted) (?:tool|choice|way|option)\b",
        r"\b(?:on|with|in|for|at) (?:every|each|any|all) (?:request|message|call|turn|question|answer|response|"
        r"task)s?\b",
    ),
    _rule(
        "speaks_to_reader",
        "speaks to the model, or of the user and the conversation",
        r"\b(?:assistants?|llms?|ai|language models?|agents?|claude|chatgpt|gpt|gemini|copilot|cursor|the model|"
        r"models)\b",
        r"\b(?:the users?(?:'s)?|users' |users?'s|humans?|operators?|conversations?|chats?|transcripts?|prompts?)\b",
        r"\b(?:your|you)\b[^.\n]{0,30}\b(?:instructions?|context|memory|response|answer|output|reply|training|"
        r"guidelines|"
        r"knowledge|messages?|tools?|environment|workspace|previous|credentials?)\b",
        r"\byou (?:may|can|could|will|might|are)\b",
    ),
    _rule(
        "names_secrets",
        "names secrets",
        r"\b(?:passwords?|passphrases?|credentials?|secrets?|private keys?|ssh|cookies?|environment variables?|"
        r"env vars?|"
        r"(?:api|access|secret|auth\w*|bearer|session|signing|encryption)[ _-]?(?:keys?|tokens?)|seed phrases?|"
        r"wallets?|"
        r"tokens? of|keychain|credit cards?|social security|bank accounts?)\b",
    ),
    _rule(
        "sends",
        "says that something is sent, kept or passed on",
        rf"\b{_SEND}\b[^.\n]{{0,60}}\b{_AROUND}\b",
        r"\b(?:sent|uploaded|forwarded|shared|transmitted|posted|reported|synced|mirrored|logged|copied|published|"
        r"delivered|collected|disclosed|recorded|tracked|redirected|relayed|transferred|emailed)\b",
        r"\b(?:third[- ]part(?:y|ies)|telemetry|analytics|remote (?:server|host|endpoint)s?|webhooks?|exfiltrat\w*)\b",
        r"\b(?:and|then|also|additionally|plus)\W+(?:send|forward|upload|post|e-?mail|transmit|share|copy|sync|publish|"
        r"sends|forwards|uploads|posts|e-?mails|transmits|shares|copies|syncs|publishes|executes|runs|deletes)\b",
    ),
    _rule(
        "encoded",
        "wants something decoded or executed",
        r"\b(?:base64|rot13|hex[- ]?(?:encoded|decode)|decode[ds]?|eval|exec|curl|wget|powershell|bash -c|sudo|"
        r"chmod)\b",
    ),
)
# A sentence that begins like an order, where it is not the first of a text: that one says what its tool does.
IMPERATIVE = _rule(
    "commands",
    "tells its reader what to do",
    rf"^(?:(?:please|also|then|now|and|just|always)\W+)*{_IMPERATIVES}\b(?! (?:of|to|for|in|is|are|can|by)\b)",
)
# Base64, hex, percent-encoded and escaped: what a person does not read, and a model does.
BLOB = Rule(
    "encoded",
    "holds what is encoded",
    re.compile(
        r"(?<![\w+])(?=[A-Za-z+]*\d)(?=[a-z\d+]*[A-Z])(?=[A-Z\d+]*[a-z])[A-Za-z\d+]{32,}|"
        r"\b(?:[0-9a-fA-F]{2}[ :]?){40,}|(?:%[0-9a-fA-F]{2}){12,}|(?:\\x[0-9a-fA-F]{2}){8,}|"
        r"(?:\\u[0-9a-fA-F]{4}){6,}|(?:&#x?[0-9a-fA-F]{2,6};){6,}"
    ),
)
# More white space in a row than a text has that is to be read: what comes after it is out of sight.
GAP = re.compile(r"[^\S\n]{40,}|(?:[^\S\n]*\n){8,}")
ESCAPES = re.compile(r"\x1b[\[\]()#;?0-9]|\x9b")


def found(rules: tuple[Rule, ...], text: str) -> Iterator[tuple[Rule, str]]:
    """What the rules find in a text that is `plain`, with the words."""
    for rule in rules:
        for match in rule.pattern.finditer(text):
            yield rule, match[0]
