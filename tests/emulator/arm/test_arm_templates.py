"""The language of templates: expressions, functions, parameters, order."""

from __future__ import annotations

from typing import Any

import pytest
from plane import Plane

from emulator.arm.errors import ArmError
from emulator.arm.templates.expressions import parse
from emulator.arm.templates.functions import guid
from emulator.arm.templates.parameters import read_parameters
from emulator.arm.templates.scope import Scope, Unresolved
from emulator.arm.templates.template import read_template
from emulator.cloud import Cloud

GROUP = "/subscriptions/s/resourceGroups/rg"
THERE = f"{GROUP}/providers/A.B/cs/n"


def _scope(**parameters: Any) -> Scope:
    body = {"id": THERE, "properties": {"name": "found"}}
    return Scope(
        GROUP,
        "tenant",
        "eastus2",
        parameters,
        {"joined": "[concat(parameters('a'), '-x')]", "ids": {"one": "[parameters('a')]"}},
        lambda id: body if id.lower() == THERE.lower() else None,
        {"thing": THERE},
    )


@pytest.mark.parametrize(
    ("text", "value"),
    [
        ("[parameters('A')]", "a"),
        ("[variables('joined')]", "a-x"),
        ("[variables('ids').one]", "a"),
        ("[toUpper(format('{0}/{1}', variables('joined'), 2))]", "A-X/2"),
        ("[[not an expression]", "[not an expression]"),
        ("it''s plain", "it''s plain"),
        ("[concat('it''s')]", "it's"),
        ("[if(equals('A', 'a'), 'same', fail())]", "same"),
        ("[createArray(1, 2)[1]]", 2),
        ("[createObject('k', createArray('v')).K[0]]", "v"),
        ("[coalesce(null(), 'second')]", "second"),
        ("[and(true(), not(false()))]", True),
        ("[or(false(), empty(createArray()))]", True),
        ("[union(createArray(1), createArray(1, 2))]", [1, 2]),
        ('[union(json(\'{"a":{"b":1}}\'), json(\'{"a":{"c":2}}\'))]', {"a": {"b": 1, "c": 2}}),
        ("[substring('abcdef', 1, 3)]", "bcd"),
        ("[join(split('a,b;c', createArray(',', ';')), '')]", "abc"),
        ("[padLeft(7, 3, '0')]", "007"),
        ("[add(mul(2, 3), -1)]", 5),
        ("[contains(createObject('Key', 1), 'key')]", True),
        ("[resourceGroup().id]", GROUP),
        ("[subscription().tenantId]", "tenant"),
        ("[resourceId('A.B/cs', 'n')]", THERE),
        ("[resourceId('other', 'A.B/cs/ds', 'n', 'm')]", f"{THERE.replace('rg', 'other')}/ds/m"),
        (
            "[resourceId('x', 'g', 'A.B/cs', 'n')]",
            "/subscriptions/x/resourceGroups/g/providers/A.B/cs/n",
        ),
        ("[subscriptionResourceId('A.B/cs', 'n')]", "/subscriptions/s/providers/A.B/cs/n"),
        ("[extensionResourceId('/x', 'A.B/cs', 'n')]", "/x/providers/A.B/cs/n"),
        ("[reference('thing').name]", "found"),
        ("[reference(resourceId('A.B/cs', 'n'), '2025-01-01', 'Full').id]", THERE),
        ("[reference('thing').?other]", None),
    ],
)
def test_an_expression_has_its_value(text: str, value: Any) -> None:
    assert _scope(a="a").value(text) == value


def test_a_key_may_be_an_expression() -> None:
    assert _scope(a="a").value({"[parameters('a')]": {"b": ["[parameters('a')]"]}}) == {
        "a": {"b": ["a"]}
    }


def test_a_guid_is_the_same_for_the_same_words_alone() -> None:
    assert guid("a", "b") == guid("a", "b") != guid("a", "c")


@pytest.mark.parametrize(
    "text",
    ["concat('a'", "concat('a',)", "nofunction('a')", "'a' 'b'", "parameters('none')",
     "concat('a').b", "div(1, 0)", "resourceId('A.B/cs', 'n', 'm')", "reference('nothing')",
     "copyIndex()", "#", ""],
)  # fmt: skip
def test_what_cannot_be_read_is_an_invalid_template(text: str) -> None:
    with pytest.raises(ArmError) as caught:
        _scope().value(f"[{text}]") if text else parse(text)
    assert caught.value.code == "InvalidTemplate"


def test_what_does_not_exist_yet_stays_an_expression_in_a_forecast() -> None:
    text = "[reference(resourceId('A.B/cs', 'later')).name]"
    with pytest.raises(Unresolved):
        _scope().value(text)
    assert _scope().value_or_text({"known": "[toUpper('a')]", "later": text}) == {
        "known": "A",
        "later": text,
    }


@pytest.mark.parametrize(
    ("declared", "given", "problem"),
    [
        ({"type": "string"}, None, "is not provided"),
        ({"type": "string"}, 3, "is 3, not of type 'string'"),
        ({"type": "int"}, True, "not of type 'int'"),
        ({"type": "bool"}, "true", "not of type 'bool'"),
        ({"type": "text"}, "a", "has the unknown type 'text'"),
        ({"type": "string", "allowedValues": ["a"]}, "b", "is 'b', not one of ['a']"),
        ({"type": "int", "maxValue": 3}, 4, "comes to 4, outside of None to 3"),
        ({"type": "string", "minLength": 2}, "b", "comes to 1, outside of 2 to None"),
    ],
)
def test_a_parameter_that_does_not_fit_is_refused(
    declared: dict[str, Any], given: Any, problem: str
) -> None:
    values = {} if given is None else {"P": {"value": given}}
    with pytest.raises(ArmError) as caught:
        read_parameters({"parameters": {"p": declared}}, values)
    assert problem in caught.value.message


def test_a_parameter_that_nobody_declared_is_refused() -> None:
    with pytest.raises(ArmError, match=r"\['typo'\] are not valid"):
        read_parameters({"parameters": {}}, {"typo": {"value": 1}})


def _template(resources: Any) -> dict[str, Any]:
    return {"template": {"$schema": "x", "contentVersion": "1.0.0.0", "resources": resources}}


def _resource(name: str, **more: Any) -> dict[str, Any]:
    return {"type": "A.B/cs", "apiVersion": "2025-01-01", "name": name, **more}


def test_resources_are_made_after_what_they_name_and_what_they_refer_to(
    plane: Plane, cloud: Cloud
) -> None:
    resources = {
        "first": _resource("1"),
        "third": _resource("3", dependsOn=["second"]),
        "second": _resource("2", properties={"x": "[reference('first').x]"}),
    }
    read = read_template(cloud, plane.group, _template(resources))
    assert [one.id.name for one in read.resources] == ["1", "2", "3"]


def test_what_waits_for_nothing_is_made_from_the_last_to_the_first(
    plane: Plane, cloud: Cloud
) -> None:
    read = read_template(cloud, plane.group, _template([_resource("1"), _resource("2")]))
    assert [one.id.name for one in read.resources] == ["2", "1"]


def test_a_list_of_resources_names_its_dependencies_by_id(plane: Plane, cloud: Cloud) -> None:
    resources = [_resource("1", dependsOn=["[resourceId('A.B/cs', '2')]"]), _resource("2")]
    read = read_template(cloud, plane.group, _template(resources))
    assert [one.id.name for one in read.resources] == ["2", "1"]


def test_a_circle_is_refused(plane: Plane, cloud: Cloud) -> None:
    resources = {"a": _resource("1", dependsOn=["b"]), "b": _resource("2", dependsOn=["a"])}
    with pytest.raises(ArmError, match="Circular dependency"):
        read_template(cloud, plane.group, _template(resources))


def test_conditions_existing_ones_and_loops(plane: Plane, cloud: Cloud) -> None:
    resources = {
        "no": _resource("no", condition="[equals(1, 2)]"),
        "old": _resource("old", existing=True),
        "many": _resource("[format('m{0}', copyIndex())]", copy={"name": "turn", "count": 2}),
    }
    read = read_template(cloud, plane.group, _template(resources))
    assert sorted(one.id.name for one in read.resources) == ["m0", "m1"]


def test_a_nested_deployment_is_not_pretended(plane: Plane, cloud: Cloud) -> None:
    nested = {**_resource("n"), "type": "Microsoft.Resources/deployments"}
    with pytest.raises(ArmError, match="does not know nested deployments"):
        read_template(cloud, plane.group, _template([nested]))
