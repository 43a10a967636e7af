# SPDX-License-Identifier: Apache-2.0
"""A form as it came from a browser: what was typed is kept, and what is wrong stands beside it."""

from collections.abc import Mapping, Sequence


class Form:
    """The fields of one form; made empty, or with the values it begins with."""

    def __init__(self, values: Mapping[str, Sequence[str]] | None = None) -> None:
        self._values = {name: list(several) for name, several in (values or {}).items()}
        self.faults: dict[str, str] = {}
        """By field; "" for what is wrong with the whole."""

    @classmethod
    def of(cls, **values: str) -> "Form":
        return cls({name: [value] for name, value in values.items()})

    def get(self, name: str, otherwise: str = "") -> str:
        """What was typed, without the blanks around it; the last where there are several.

        However long it is: of a list that was cut short the rest would be taken as left out.
        """
        several = self._values.get(name)
        return several[-1].strip() if several else otherwise

    def all(self, name: str) -> list[str]:
        """Every value of a field, as of check boxes; empty ones left out."""
        return [one.strip() for one in self._values.get(name, ()) if one.strip()]

    def words(self, name: str) -> tuple[str, ...]:
        """What was typed, parted at blanks and commas; each word once."""
        return tuple(dict.fromkeys(self.get(name).replace(",", " ").split()))

    def put(self, name: str, value: str) -> None:
        self._values[name] = [value]

    def put_all(self, name: str, values: Sequence[str]) -> None:
        self._values[name] = list(values)

    def refuse(self, sentence: str, *, fields: Mapping[str, str] | None = None) -> None:
        """Keep a refusal: `start: '25:00' is no time.` stands beside the field `start`.

        `fields` says which field of the form is meant by which word of a refusal.
        """
        word, colon, rest = sentence.partition(": ")
        field = (fields or {}).get(word, word) if colon else ""
        if field and (field in self._values or field in (fields or {}).values()):
            self.faults.setdefault(field, rest[:1].upper() + rest[1:])
        else:
            self.faults.setdefault("", sentence)

    def refuse_at(
        self,
        sentence: str,
        places: Sequence[tuple[str, str]],
        *,
        fields: Mapping[str, str] | None = None,
    ) -> None:
        """As `refuse`; a sentence that names no field stands beside the one it speaks of.

        `places` are pairs of words and fields, the first that stands in the sentence counts.
        """
        before = set(self.faults)
        self.refuse(sentence, fields=fields)
        if set(self.faults) - before == {""}:
            field = next((field for word, field in places if word in sentence), "")
            if field:
                self.faults[field] = self.faults.pop("")

    @property
    def is_refused(self) -> bool:
        return bool(self.faults)
