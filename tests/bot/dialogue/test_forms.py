"""Forms as Rasa's documentation declares them, and the events of rasa-sdk, over the real executor."""

import json
from collections.abc import AsyncIterator
from pathlib import Path

import pytest

from bot.dialogue import tracker
from bot.dialogue.action_files import LocalExecutor
from bot.dialogue.actions import ActionError, ActionRejectedError, ActionResult, Actions
from bot.dialogue.domain import read_domain
from bot.dialogue.responses import rendered
from bot.dialogue.types import Turn

# A booking in the form of Rasa's own examples: mappings of every type, custom extraction, a dynamic form, templates.
ACTIONS = """
from typing import Any, Dict, List, Text

from rasa_sdk import Action, FormValidationAction, Tracker
from rasa_sdk.events import *
from rasa_sdk.executor import CollectingDispatcher
from rasa_sdk.types import DomainDict


class ValidateTableForm(FormValidationAction):
    def name(self) -> Text:
        return "validate_table_form"

    async def required_slots(self, domain_slots, dispatcher, tracker, domain) -> List[Text]:
        if int(tracker.slots.get("seats") or 0) > 6:
            return [*domain_slots, "hall"]
        return domain_slots

    async def extract_hall(self, dispatcher, tracker, domain) -> Dict[Text, Any]:
        text = tracker.latest_message.get("text", "")
        return {"hall": text[:1]} if tracker.get_slot("requested_slot") == "hall" and "厅" in text else {}

    def validate_cuisine(
        self, slot_value: Any, dispatcher: CollectingDispatcher, tracker: Tracker, domain: DomainDict,
    ) -> Dict[Text, Any]:
        if slot_value in ("川菜", "粤菜"):
            return {"cuisine": slot_value}
        dispatcher.utter_message(response="utter_wrong_cuisine", wanted=slot_value)
        return {"cuisine": None}

    def validate_seats(self, slot_value, dispatcher, tracker, domain):
        return {"seats": int(slot_value)}


class AskOutdoor(Action):
    def name(self) -> Text:
        return "action_ask_table_form_outdoor"

    def run(self, dispatcher, tracker, domain):
        dispatcher.utter_message(text="坐外面吗？", buttons=[{"title": "外面", "payload": '/inform{"outdoor": true}'}])
        return []


class Reset(Action):
    def name(self) -> Text:
        return "action_reset"

    def run(self, dispatcher, tracker, domain):
        dispatcher.utter_message(text="清空")
        return [AllSlotsReset()]


class Restart(Action):
    def name(self) -> Text:
        return "action_begin_again"

    def run(self, dispatcher, tracker, domain):
        dispatcher.utter_message(text="重新开始")
        return [Restarted()]


class Unhear(Action):
    def name(self) -> Text:
        return "action_unhear"

    def run(self, dispatcher, tracker, domain):
        dispatcher.utter_message(text="当作没听见")
        return [SlotSet("heard", True), UserUtteranceReverted()]


class Pause(Action):
    def name(self) -> Text:
        return "action_pause"

    def run(self, dispatcher, tracker, domain):
        dispatcher.utter_message(text="请稍等，同事来接")
        return [ConversationPaused()]


class Resume(Action):
    def name(self) -> Text:
        return "action_resume"

    def run(self, dispatcher, tracker, domain):
        dispatcher.utter_message(text=f"回来了 {tracker.is_paused()}")
        return [ConversationResumed()]


class Stream(Action):
    def name(self) -> Text:
        return "action_stream"

    async def run(self, dispatcher, tracker, domain):
        await dispatcher.stream_start()
        for piece in ("您的", "包裹", "已发出"):
            await dispatcher.stream_chunk(text=piece)
        await dispatcher.stream_chunk(image="https://shop.example.com/map.png")
        await dispatcher.stream_end()
        return [FollowupAction("utter_bye")]


class Refuse(FormValidationAction):
    def name(self) -> Text:
        return "validate_refusing_form"

    def validate_name(self, slot_value, dispatcher, tracker, domain):
        return {"name": slot_value}

    async def extract_name(self, dispatcher, tracker, domain):
        return {}

    async def run(self, dispatcher, tracker, domain):
        if tracker.latest_message["text"] == "随你":
            return [ActionExecutionRejected("refusing_form")]
        return await super().run(dispatcher, tracker, domain)
"""
DOMAIN = """
version: "3.1"
intents: [affirm, deny, inform, chitchat]
entities: [cuisine, number]
slots:
  cuisine:
    type: text
    mappings:
      - type: from_entity
        entity: cuisine
        not_intent: chitchat
  seats:
    type: any
    mappings:
      - type: from_entity
        entity: number
  outdoor:
    type: bool
    mappings:
      - type: from_intent
        intent: affirm
        value: true
        conditions: [{active_loop: table_form, requested_slot: outdoor}]
      - type: from_intent
        intent: deny
        value: false
        conditions: [{active_loop: table_form, requested_slot: outdoor}]
  wishes:
    type: text
    mappings:
      - {type: from_intent, intent: deny, value: none, conditions: [{active_loop: table_form, requested_slot: wishes}]}
      - type: from_text
        not_intent: affirm
        conditions: [{active_loop: table_form, requested_slot: wishes}]
  hall: {type: text, mappings: [{type: custom}]}
  language: {type: text, initial_value: zh, mappings: [{type: custom}]}
  name: {type: text, mappings: [{type: custom}]}
forms:
  table_form:
    required_slots: [cuisine, seats, outdoor, wishes]
    labels: {cuisine: [菜系], wishes: [要求, 备注]}
  refusing_form:
    required_slots: [name]
responses:
  utter_ask_cuisine: [{text: 吃什么菜？, translation: {en: Which cuisine?}}]
  utter_ask_table_form_seats: [{text: 几位？}, {text: 一共几个人？}]
  utter_ask_wishes: [{text: 还有什么要求？}]
  utter_ask_hall: [{text: 哪个厅？}]
  utter_ask_name: [{text: 您贵姓？}]
  utter_wrong_cuisine: [{text: "没有{wanted}。"}]
  utter_done: [{text: "{cuisine}，{seats} 位，{outdoor}，{wishes}。", image: "https://shop.example.com/{cuisine}.png"}]
  utter_bye: [{text: 再见}]
actions: [validate_table_form, action_ask_table_form_outdoor]
"""
DATA = """
nlu:
  - lookup: cuisine
    examples: |
      - 川菜
      - 粤菜
  - synonym: 川菜
    examples: |
      - 四川菜
  - intent: inform
    examples: |
      - 想吃[四川菜](cuisine:川菜)
      - 来点[法餐](cuisine)
  - intent: bye
    examples: |
      - 就到这里
rules:
  - rule: submit
    condition: [{active_loop: table_form}]
    steps:
      - action: table_form
      - active_loop: null
      - slot_was_set: [{requested_slot: null}]
      - action: utter_done
      - action: action_reset
  - rule: bye
    steps:
      - intent: bye
      - action: utter_bye
"""


class Talk:
    def __init__(self, actions: Actions) -> None:
        self.actions, self.slots, self.events = actions, {}, ()

    async def say(self, text: str, name: str = "table_form", language: str = "zh") -> ActionResult:
        turn = Turn("c", text, language=language, slots=self.slots, events=self.events)
        result = await self.actions.run(name, turn)
        self.slots, self.events = json.loads(json.dumps(result.slots)), tuple(json.loads(json.dumps(result.events)))
        return result


@pytest.fixture
async def talk(tmp_path: Path) -> AsyncIterator[Talk]:
    (tmp_path / "actions.py").write_text(ACTIONS, encoding="utf-8")
    (tmp_path / "domain.yml").write_text(DOMAIN, encoding="utf-8")
    (tmp_path / "data").mkdir()
    (tmp_path / "data" / "nlu.yml").write_text(DATA, encoding="utf-8")
    executor, domain = LocalExecutor([tmp_path], 30), read_domain([tmp_path])
    assert (executor.problems, domain.problems) == ((), ())
    actions = Actions(executor, None, domain)
    yield Talk(actions)
    await actions.close()


async def test_a_form_from_its_first_question_to_its_submission(talk: Talk) -> None:
    assert (await talk.say("订位")).text == "吃什么菜？"
    assert (await talk.say("来点法餐")).text == "没有法餐。\n\n吃什么菜？"
    assert (await talk.say("想吃四川菜")).text == "几位？"
    asked = await talk.say("4 个人")
    assert (asked.text, asked.suggestions) == ("坐外面吗？", ("外面",))
    assert talk.slots["seats"] == 4
    assert (await talk.say("外面")).text == "还有什么要求？"
    assert talk.slots["outdoor"] is True
    done = await talk.say("靠窗")
    assert done.text == "川菜，4 位，True，靠窗。\n\n清空"
    assert done.image_url == "https://shop.example.com/川菜.png"
    assert tracker.active_loop(talk.events) is None
    assert {k: v for k, v in talk.slots.items() if v is not None} == {"language": "zh"}


async def test_what_the_first_message_says_is_not_asked_for(talk: Talk) -> None:
    assert (await talk.say("粤菜，3 位")).text == "坐外面吗？"
    assert (await talk.say("不")).text == "还有什么要求？"
    assert talk.slots["outdoor"] is False
    assert "粤菜，3 位，False，none。" in (await talk.say("没有")).text


async def test_the_companys_code_may_ask_for_more(talk: Talk) -> None:
    await talk.say("粤菜，8 位")
    await talk.say("不要")
    assert (await talk.say("靠窗")).text == "哪个厅？"
    with pytest.raises(ActionRejectedError):
        await talk.say("不知道")
    assert "粤菜，8 位" in (await talk.say("红厅")).text


async def test_nothing_for_the_form_is_rejected_and_leaves_no_trace(talk: Talk) -> None:
    await talk.say("订位")
    before = (talk.slots, talk.events)
    with pytest.raises(ActionRejectedError):
        await talk.say("运费谁出")
    assert (talk.slots, talk.events) == before


async def test_corrections(talk: Talk) -> None:
    await talk.say("粤菜，3 位")
    assert (await talk.say("不对，是川菜")).text == "坐外面吗？"
    assert talk.slots["cuisine"] == "川菜"
    assert (await talk.say("菜系选错了")).text == "吃什么菜？"
    assert talk.slots["cuisine"] is None
    await talk.say("粤菜")
    assert talk.slots["seats"] == 3


async def test_it_speaks_the_customers_language_and_not_twice_the_same(talk: Talk) -> None:
    assert (await talk.say("book a table", language="en")).text == "Which cuisine?"
    assert (await talk.say("川菜")).text == "几位？"
    assert (await talk.say("不对，是粤菜")).text == "一共几个人？"


async def test_a_form_that_is_rejected_by_hand_asks_on(talk: Talk) -> None:
    await talk.say("x", "refusing_form")
    assert (await talk.say("随你", "refusing_form")).text == "您贵姓？"


async def test_events_of_rasa_sdk(talk: Talk) -> None:
    talk.slots = {"cuisine": "川菜"}
    assert (await talk.say("x", "action_unhear")).text == "当作没听见"
    assert "heard" not in talk.slots
    assert not [e for e in talk.events if e["event"] == "user"]
    assert (await talk.say("y", "action_pause")).paused
    resumed = await talk.say("z", "action_resume")
    assert (resumed.text, resumed.paused) == ("回来了 True", False)
    await talk.say("w", "action_reset")
    assert talk.slots.get("cuisine") is None
    assert talk.slots["language"] == "zh"
    await talk.say("v", "action_begin_again")
    assert [e["event"] for e in talk.events] == ["restart"]
    streamed = await talk.say("u", "action_stream")
    assert streamed.text == "您的包裹已发出\n\n再见"
    assert streamed.image_url == "https://shop.example.com/map.png"
    with pytest.raises(ActionError):
        await talk.say("u", "utter_unknown")


async def test_a_button_or_an_example_names_an_intent(talk: Talk) -> None:
    said = talk.actions.read(Turn("c", '/inform{"cuisine": "川菜"}'))
    assert (said.intent, said.from_payload) == ("inform", True)
    assert [(e["entity"], e["value"]) for e in said.entities] == [("cuisine", "川菜")]
    assert talk.actions.read(Turn("c", "就到这里！")).intent == "bye"
    assert talk.actions.domain.actions_for("bye") == ("utter_bye",)
    assert talk.actions.read(Turn("c", "/inform{broken")).from_payload is False


def test_a_broken_declaration_is_named_and_the_others_are_read(
    tmp_path: Path, caplog: pytest.LogCaptureFixture
) -> None:
    (tmp_path / "a.yml").write_text("slots: [1, 2]\n", encoding="utf-8")
    (tmp_path / "b.yml").write_text("forms: {f: {required_slots: [x]}}\nslots: {x: {mappings: [{entity: y}]}}\n")
    (tmp_path / "c.yml").write_text("a: [unclosed\n", encoding="utf-8")
    (tmp_path / "d.yml").write_text("nlu:\n  - regex: n\n    examples: |\n      - (unclosed\n", encoding="utf-8")
    (tmp_path / "e.yml").write_text("responses: {utter_x: [{text: 好}]}\n", encoding="utf-8")
    (tmp_path / "f.yml").write_bytes(b"\xff\xfe\x00")
    domain = read_domain([tmp_path])
    assert len(domain.problems) == len(caplog.records) == 5
    assert all(f"{name}.yml" in " ".join(domain.problems) for name in "abcdf")
    assert list(domain.responses) == ["utter_x"]


def test_a_form_of_rasa_2_is_read(tmp_path: Path) -> None:
    (tmp_path / "domain.yml").write_text(
        "slots: {size: {type: text}}\nforms: {f: {size: [{type: from_text}, {type: from_entity, entity: size}]}}\n"
    )
    domain = read_domain([tmp_path])
    assert domain.forms["f"].required_slots == ("size",)
    assert domain.mappings["size"][0]["conditions"] == [{"active_loop": "f", "requested_slot": "size"}]


def test_responses_choose_by_channel_and_condition_and_read_no_attributes() -> None:
    variants = [
        {"text": "你好"},
        {"text": "微信你好", "channel": "wechat"},
        {"text": "会员{name}你好", "condition": [{"type": "slot", "name": "vip", "value": True}]},
    ]
    said = [
        rendered(variants, slots, language="zh", channel=channel)["text"]
        for slots, channel in (({}, "web"), ({}, "wechat"), ({"vip": True, "name": "王"}, "web"))
    ]
    assert said == ["你好", "微信你好", "会员王你好"]
    hostile = rendered([{"text": "{name.__class__} {unknown} {name}"}], {"name": "王"}, language="zh", channel="web")
    assert hostile["text"] == "{name.__class__} {unknown} 王"
