"""
Renders chat templates and encodes the text as transformers does, with jinja2 and tokenizers alone.

Both are imported on use; `pip install "ctxwin[transformers]"` installs them.
"""

import functools
import json
import re
from collections.abc import Mapping, Sequence
from datetime import datetime
from os import PathLike
from pathlib import Path
from typing import Any

# The variables through which transformers passes special tokens to a template
# (PreTrainedTokenizerBase, 5.24).
NAMED_TOKENS = tuple(f"{name}_token" for name in ("bos", "eos", "unk", "sep", "pad", "cls", "mask"))
# The names under which reasoning is sent. Templates look for it under the first, that of gpt-oss
# under the second.
REASONING_FIELDS = ("reasoning_content", "thinking", "reasoning")
OLDEST_JINJA = (3, 1, 6)  # templates are foreign code, and could leave the sandbox of older ones


class TemplateTokenizer:
    """
    A tokenizer with a chat template, like that of transformers but only what counting needs.

    Args:
        tokenizer: a `tokenizers.Tokenizer`. It is modified, as transformers does: truncation and
            padding are switched off, and special tokens that it does not know as such are added.
        chat_template: the Jinja text; or a mapping of names to texts, of which `tool_use` serves
            requests with tools and `default` all others.
        special_tokens: the variables that the template may use: `{"bos_token": "<s>", ...}`.

    Raises:
        ImportError: jinja2 is older than 3.1.6, the first version whose sandbox holds.
        ValueError: no template is named `default`.
    """

    is_fast = True

    def __init__(
        self,
        tokenizer: Any,
        chat_template: str | Mapping[str, str],
        special_tokens: Mapping[str, str] | None = None,
    ) -> None:
        tokenizer.no_truncation()
        tokenizer.no_padding()
        self.backend_tokenizer = tokenizer
        self.chat_template = (
            chat_template if isinstance(chat_template, str) else dict(chat_template)
        )
        self.special_tokens_map = dict(special_tokens or {})
        known = {token.content for token in tokenizer.get_added_tokens_decoder().values()}
        tokenizer.add_special_tokens(
            [token for token in self.special_tokens_map.values() if token not in known]
        )
        if not isinstance(self.chat_template, str) and "default" not in self.chat_template:
            raise ValueError(
                f"one chat template must be named 'default', not only {sorted(self.chat_template)}"
            )
        _environment()

    def __len__(self) -> int:
        size: int = self.backend_tokenizer.get_vocab_size()
        return size

    def __call__(self, text: str, *, add_special_tokens: bool = True) -> dict[str, list[int]]:
        """Encode a text; a special token spelt in it is encoded as that token."""
        return {
            "input_ids": self.backend_tokenizer.encode(
                text, add_special_tokens=add_special_tokens
            ).ids
        }

    @classmethod
    def from_folder(cls, folder: str | PathLike[str]) -> "TemplateTokenizer":
        """
        Read a model's folder.

        It uses `tokenizer.json`, and `tokenizer_config.json` and `chat_template.jinja` if they are
        there.

        Raises:
            FileNotFoundError: there is no `tokenizer.json`.
            ValueError: there is no chat template.
        """
        from tokenizers import AddedToken, Tokenizer  # noqa: PLC0415 - an extra

        folder = Path(folder)
        file = folder / "tokenizer.json"
        if not file.is_file():
            raise FileNotFoundError(
                f"{file}: save it there with AutoTokenizer.from_pretrained(...).save_pretrained"
            )
        tokenizer = Tokenizer.from_file(str(file))
        config = _read_config(folder / "tokenizer_config.json")
        for token in config.get("added_tokens_decoder", {}).values():
            if tokenizer.token_to_id(token["content"]) is None:
                tokenizer.add_tokens([AddedToken(**token)])
        named = {
            name: _token_text(config[name]) for name in NAMED_TOKENS if config.get(name) is not None
        }
        return cls(tokenizer, _read_templates(folder, config), named)

    def apply_chat_template(
        self,
        conversation: Sequence[Mapping[str, Any]],
        tools: Sequence[Mapping[str, Any]] | None = None,
        *,
        add_generation_prompt: bool = False,
        tokenize: bool = True,
        **variables: Any,
    ) -> str | list[int]:
        """
        Return the text that the model is sent, or its token ids.

        As in transformers, the template does not see keys whose value is None, it finds reasoning
        under the names that templates look for, and a special token spelt in a message is encoded
        as that token.

        Raises:
            ValueError: there is no message. What the template raises is passed on.
        """
        if not conversation:
            raise ValueError(
                "a chat template cannot be applied to an empty conversation: give a message"
            )
        template = self.chat_template
        if not isinstance(template, str):
            default = template["default"]
            template = default if tools is None else template.get("tool_use", default)
        text: str = _compile(template).render(
            messages=[_shown(message) for message in conversation],
            tools=tools,
            documents=None,
            add_generation_prompt=add_generation_prompt,
            **{**self.special_tokens_map, **variables},
        )
        return self(text, add_special_tokens=False)["input_ids"] if tokenize else text


def _shown(message: Mapping[str, Any]) -> dict[str, Any]:
    """Return a message as the template sees it."""
    shown = {key: value for key, value in message.items() if value is not None}
    reasoning = next((shown[key] for key in REASONING_FIELDS if key in shown), None)
    if reasoning is None:
        return shown
    return {"thinking": reasoning, **shown, "reasoning_content": reasoning}


def _read_config(file: Path) -> dict[str, Any]:
    config: dict[str, Any] = json.loads(file.read_text("utf-8")) if file.is_file() else {}
    return config


def _read_templates(folder: Path, config: Mapping[str, Any]) -> str | dict[str, str]:
    """Return the template or templates of a folder; files take precedence over the config."""
    files = {file.stem: file for file in (folder / "additional_chat_templates").glob("*.jinja")}
    if (folder / "chat_template.jinja").is_file():
        files["default"] = folder / "chat_template.jinja"
    found = {name: file.read_text("utf-8") for name, file in files.items()} or config.get(
        "chat_template"
    )
    if isinstance(found, list):
        found = {entry["name"]: entry["template"] for entry in found}
    if not found:
        raise ValueError(
            f"{folder} holds no chat template: put the model's in chat_template.jinja there"
        )
    templates: str | dict[str, str] = found["default"] if list(found) == ["default"] else found
    return templates


def _token_text(token: Any) -> str:
    """Return the text of a token in the configuration: a string, or an object with `content`."""
    return str(token if isinstance(token, str) else token["content"])


@functools.lru_cache(maxsize=64)
def _compile(template: str) -> Any:
    return _environment().from_string(template)


@functools.cache
def _environment() -> Any:
    """Return the sandbox in which templates run, with the functions that transformers provides."""
    import jinja2  # noqa: PLC0415 - an extra
    from jinja2.ext import Extension, loopcontrols  # noqa: PLC0415
    from jinja2.sandbox import ImmutableSandboxedEnvironment  # noqa: PLC0415

    if tuple(map(int, re.findall(r"\d+", jinja2.__version__)[:3])) < OLDEST_JINJA:
        raise ImportError(
            f"chat templates are foreign code: jinja2 {jinja2.__version__} must be 3.1.6 or newer"
        )

    class Generation(Extension):
        """`{% generation %}` marks what the model wrote, for training; here it changes nothing."""

        tags = {"generation"}  # noqa: RUF012 - jinja2's way to declare them

        def parse(self, parser: Any) -> Any:
            line = next(parser.stream).lineno
            body = parser.parse_statements(("name:endgeneration",), drop_needle=True)
            return jinja2.nodes.Scope(body, lineno=line)

    environment = ImmutableSandboxedEnvironment(
        trim_blocks=True, lstrip_blocks=True, extensions=[Generation, loopcontrols]
    )
    environment.filters["tojson"] = _to_json
    environment.globals["raise_exception"] = _raise
    # Local time, as in transformers.
    environment.globals["strftime_now"] = lambda form: datetime.now().strftime(form)  # noqa: DTZ005
    return environment


def _to_json(
    value: Any,
    ensure_ascii: bool = False,  # noqa: FBT001, FBT002 - templates may pass it by position
    indent: int | None = None,
    separators: tuple[str, str] | None = None,
    sort_keys: bool = False,  # noqa: FBT001, FBT002
) -> str:
    return json.dumps(
        value, ensure_ascii=ensure_ascii, indent=indent, separators=separators, sort_keys=sort_keys
    )


def _raise(message: str) -> None:
    """Let a template refuse what it is given."""
    from jinja2 import TemplateError  # noqa: PLC0415 - an extra

    raise TemplateError(message)
