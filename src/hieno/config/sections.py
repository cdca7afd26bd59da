"""The sections of `hieno.yaml` as one frozen tree."""

from __future__ import annotations

import re
from typing import Annotated, Literal, Self

from pydantic import Field, field_validator, model_validator

from hieno.config.azure import Azure
from hieno.config.section import Section

# Azure's rule for endpoints, kept everywhere so that a project can move there unchanged.
Name = Annotated[
    str, Field(min_length=3, max_length=32, pattern=r"^[a-zA-Z][a-zA-Z0-9]*(-[a-zA-Z0-9]+)*$")
]

Percent = Annotated[int, Field(ge=1, le=100)]


class Data(Section):
    """Where the chats are and how they are divided."""

    source: str = Field(
        "data/chats.jsonl",
        description="your chats: a file, a folder, a glob, or a hub dataset (hf:OWNER/NAME)",
    )
    format: Literal["auto", "messages", "sharegpt", "alpaca", "prompt-completion", "feedback"] = (
        Field("auto", description="shape of the rows")
    )
    columns: dict[str, str] = Field(
        default={}, description="column of each field, where it has another name"
    )
    subset: str | None = Field(None, description="config of a hub dataset")
    split: str | None = Field(
        None, description="split of a hub dataset, or a slice: train_sft[:1%]"
    )
    revision: str | None = Field(None, description="commit of a hub dataset")
    test: str | None = Field(None, description="your own held-out file; without it, a share is cut")
    test_size: float = Field(0.2, gt=0, lt=1, description="share held out when there is no file")
    dev: str | None = Field(
        None,
        description="file of chats by which `hieno tune` chooses settings; without it, a share of "
        "those that are trained on",
    )
    seed: int = Field(0, ge=0, le=2**63 - 1, description="seed of the split")
    normalise: bool = Field(True, description="bring text into Unicode's NFC form")
    near_duplicates: Literal["drop", "keep"] = Field(
        "drop", description="what happens to chats that are nearly the same as another"
    )
    similarity: float = Field(
        0.8,
        ge=0.5,
        le=1,
        description="share of equal word trigrams that makes chats nearly the same",
    )
    secrets: Literal["report", "mask", "drop"] = Field(
        "report", description="what happens to keys and tokens in the text"
    )
    personal: Literal["report", "mask", "drop"] = Field(
        "report", description="what happens to e-mail addresses, phone, card and account numbers"
    )
    replay: str | None = Field(
        None,
        description="JSONL of general prompts; the base model's own answers to them are mixed in "
        "so that old knowledge survives",
    )
    replay_tokens: int = Field(48, ge=1, le=1024, description="longest replayed answer, in tokens")
    strict: bool = Field(False, description="fail on the first bad row instead of setting it aside")
    workers: int = Field(
        0, ge=0, le=256, description="processes that prepare the chats; 0: all cores"
    )


class Train(Section):
    """How the model is fine-tuned."""

    preset: Literal["tutorial"] | None = Field(
        None, description="named values for this section; keys that are set here win over them"
    )
    method: Literal["lora", "qlora", "full"] = Field(
        "lora", description="an adapter, one on a 4-bit base (CUDA only), or every weight"
    )
    variant: Literal["plain", "rslora", "dora"] = Field("plain", description="kind of LoRA")
    rank: int = Field(32, ge=1, le=1024, description="rank of the LoRA adapter")
    alpha: int = Field(64, ge=1, le=4096, description="LoRA scaling numerator")
    dropout: float = Field(0.0, ge=0, lt=1, description="dropout on the adapter's input")
    targets: Literal["all"] | list[str] = Field(
        "all", description="layers to adapt: all linear ones, or a list of module names"
    )
    frozen_layers: int = Field(
        0, ge=0, description="lowest layers without an adapter: quicker, and the base moves less"
    )
    learning_rate: float = Field(2e-4, gt=0, le=1, description="peak learning rate")
    scheduler: Literal["cosine", "linear", "constant"] = Field("cosine", description="its course")
    warmup: float = Field(0.06, ge=0, lt=1, description="share of the steps spent warming up")
    epochs: float = Field(3, gt=0, le=1000, description="passes over the training chats")
    batch_size: int = Field(8, ge=1, le=4096, description="chats in one optimiser step")
    max_length: int = Field(2048, ge=16, description="longest chat, in tokens")
    loss_on: Literal["replies", "all"] = Field(
        "replies", description="tokens that are learnt: the assistant's, or every one"
    )
    replay_loss: Literal["distribution", "words"] = Field(
        "distribution",
        description="what replayed answers hold in place: the base's whole distribution over the "
        "next token, or its words alone",
    )
    replay_share: float = Field(
        1.0, ge=0, le=1, description="share of the replayed answers that is mixed in"
    )
    replay_weight: float = Field(
        1.0,
        gt=0,
        le=100,
        description="how much keeping the base's distribution counts beside learning the chats",
    )
    weight_decay: float = Field(0.0, ge=0, le=1, description="decoupled weight decay")
    gradient_clip: float = Field(1.0, gt=0, description="largest norm of the gradient")
    seed: int = Field(0, ge=0, description="seed of the initial adapter and of the order of chats")
    dtype: Literal["auto", "bfloat16", "float32"] = Field(
        "auto", description="type of the matrix products; auto measures this machine"
    )
    evaluate: Literal["end", "epoch"] = Field(
        "end", description="when the held-out loss is measured: after training, or each epoch too"
    )
    patience: int = Field(
        0,
        ge=0,
        le=1000,
        description="epochs without a better held-out loss until training stops and the best "
        "weights are kept; 0 trains to the end",
    )
    attention: Literal["auto", "by_document", "sdpa", "eager", "flash_attention_2"] = Field(
        "auto", description="attention of the training pass; every one keeps chats apart"
    )
    loss: Literal["auto", "chunked", "stock"] = Field(
        "auto", description="how the loss is computed: over supervised tokens only, or stock"
    )
    layers: Literal["auto", "fused", "stock"] = Field(
        "auto", description="small steps of a layer in few passes over memory, or stock"
    )
    checkpointing: bool = Field(
        False, description="keep fewer activations and compute them again: less memory, slower"
    )
    pass_tokens: int = Field(
        4096,
        ge=64,
        le=1_000_000,
        description="most tokens in one forward pass of a step; fewer where memory is short",
    )
    keep_states: bool = Field(
        True,
        description="compute what the frozen layers make of the chats once and not in each epoch, "
        "where memory allows it",
    )
    processes: int = Field(
        0,
        ge=0,
        le=256,
        description="processes that train together, each on a share of a step's chats; 0: one for "
        "each GPU, or one",
    )
    sharding: Literal["none", "full"] = Field(
        "none",
        description="what each of several processes keeps: the whole model, or a share of its "
        "weights, gradients and optimizer states (FSDP)",
    )
    samples: int = Field(
        0, ge=0, le=20, description="held-out questions answered after each epoch, to read along"
    )
    save_minutes: float = Field(1.0, gt=0, description="minutes between checkpoints")
    keep_checkpoints: int = Field(2, ge=2, le=100, description="checkpoints kept on disk")

    @model_validator(mode="after")
    def _only_adapters_leave_layers_out(self) -> Self:
        if self.frozen_layers and self.method == "full":
            raise ValueError("frozen_layers is for adapters: the method full tunes every layer")
        return self

    @model_validator(mode="after")
    def _four_bits_are_not_sharded(self) -> Self:
        if self.sharding == "full" and self.method == "qlora":
            raise ValueError("sharding is for lora and full: a 4-bit base is kept whole")
        return self

    @model_validator(mode="after")
    def _words_count_as_chats_do(self) -> Self:
        if self.replay_weight != 1 and self.replay_loss == "words":
            raise ValueError("replay_weight is for replay_loss: distribution")
        return self

    @model_validator(mode="after")
    def _patience_needs_losses(self) -> Self:
        if self.patience and self.evaluate != "epoch":
            raise ValueError("patience needs a held-out loss each epoch: set evaluate to epoch")
        return self


class Package(Section):
    """How the tuned model is made ready to be served."""

    engine: Literal["auto", "openvino", "transformers", "vllm"] = Field(
        "auto", description="engine that serves the model; vllm needs an NVIDIA GPU"
    )
    weights: Literal["fp32", "bf16", "int8", "int4", "auto"] = Field(
        "fp32",
        description="weight format of the engine; auto measures all of them and takes the smallest "
        "that answers as well as fp32",
    )
    max_loss: float = Field(
        0.02,
        ge=0,
        le=1,
        description="most right answers that auto may give up for a smaller format, as a share",
    )


class Evaluate(Section):
    """How the tuned model is compared with its base, and with the champion."""

    general: str = Field(
        "shipped",
        description="general questions that must not be forgotten: shipped, none, or a JSONL file "
        "of your own",
    )
    max_new_tokens: int = Field(60, ge=1, le=4096, description="longest answer, in tokens")
    show: int = Field(3, ge=0, le=100, description="answers shown side by side")
    judge_url: str | None = Field(
        None,
        description="an OpenAI-compatible endpoint, such as https://host/v1, whose model compares "
        "replies in pairs; chats are sent there, the key is in HIENO_JUDGE_API_KEY",
    )
    judge_model: str = Field("", description="the judging model's name there")
    judge_questions: int = Field(
        100, ge=1, le=10_000, description="most held-out replies that are judged, from all over"
    )

    @field_validator("judge_url")
    @classmethod
    def _usable(cls, value: str | None) -> str | None:
        if value and not re.match(r"https://|http://(127\.0\.0\.1|localhost|\[::1\])[:/]", value):
            raise ValueError("begins with https://; http:// is for this machine alone")
        if value and "@" in value:
            raise ValueError("holds a password, which belongs into HIENO_JUDGE_API_KEY")
        return value


class Gate(Section):
    """What a model must hold to become champion; shares are 0..1."""

    min_gain: float = Field(
        0.0,
        ge=0,
        lt=1,
        description="how much better than its base it must be on the held-out chats for sure: the "
        "lower end of the interval is above this",
    )
    max_behind: float = Field(
        0.02, ge=0, le=1, description="how far behind the champion on the held-out chats is borne"
    )
    max_forgotten: float = Field(
        0.05, ge=0, le=1, description="share of the general questions that may be lost"
    )
    max_text_loss: float = Field(
        0.5, ge=0, description="how much the loss on general text may rise, in nats a token"
    )
    max_leaked: float = Field(
        0.03,
        ge=0,
        le=1,
        description="share of the general answers that may hold a fact of the chats, over the base",
    )
    min_stopped: float = Field(
        0.5,
        ge=0,
        le=1,
        description="share of the held-out replies that must end by themselves, where the "
        "reference is short enough to",
    )


class Serve(Section):
    """Limits of one running model."""

    max_new_tokens: int = Field(1024, ge=1, le=32768, description="most tokens one request may get")
    max_requests: int = Field(64, ge=1, le=4096, description="requests answered at the same time")
    cache_gb: float = Field(2.0, gt=0, description="memory for the KV cache, in gigabytes")


class Endpoint(Section):
    """The address at which the model answers."""

    name: Name = Field("hieno", description="name of the endpoint")
    port: int = Field(8000, ge=1024, le=65535, description="first loopback port that is tried")
    instances: int = Field(1, ge=1, le=50, description="running copies of the model")
    request_timeout: float = Field(180, gt=0, le=600, description="seconds until an answer is due")
    feedback: bool = Field(
        False, description="keep what is rated and corrected on the chat page, in feedback.jsonl"
    )
    steps: list[Percent] = Field(
        [10, 50, 100],
        min_length=1,
        max_length=20,
        description="percent of the traffic that a new version gets, step by step; where the last "
        "is below 100, both versions go on",
    )
    step_requests: int = Field(
        20, ge=1, le=100_000, description="answers of the new version that end a step"
    )
    step_seconds: float = Field(30, gt=0, le=86_400, description="longest step, in seconds")
    max_errors: float = Field(
        0.02, ge=0, le=1, description="more failed answers than before, as a share, that are borne"
    )
    max_slowdown: float = Field(
        3.0, ge=1, le=1000, description="how many times the time of before an answer may take"
    )

    @field_validator("steps")
    @classmethod
    def _rising(cls, value: list[int]) -> list[int]:
        if sorted(set(value)) != value:
            raise ValueError("rises from step to step, such as [10, 50, 100]")
        return value


class Flow(Section):
    """The generated flow: for prompt flow, or for its successor."""

    framework: Literal["promptflow", "agent-framework"] = Field(
        "promptflow", description="what the flow is made for"
    )
    path: str = Field("flow", description="folder of the prompt flow, yours to edit")
    agent_path: str = Field("agent", description="folder of the agent project, yours to edit")
    port: int = Field(8080, ge=1024, le=65535, description="first port tried by `flow serve`")
    workers: int = Field(4, ge=1, le=256, description="lines of a batch asked at the same time")
    retries: int = Field(1, ge=0, le=20, description="times that a failed line is asked again")


class Mlflow(Section):
    """Where runs and versions are shown."""

    tracking_uri: str | None = Field(None, description="a server; default: a local database")
    experiment: str | None = Field(None, description="default: the project's name")

    @field_validator("tracking_uri")
    @classmethod
    def _no_password(cls, value: str | None) -> str | None:
        if value and re.search(r"://[^/?#]*@", value):
            raise ValueError("holds a password, which belongs into MLFLOW_TRACKING_PASSWORD")
        return value


class Config(Section):
    """A project, whole. Section and key names are those of `hieno.yaml` and of the flags."""

    name: Name = Field("my-model", description="the project's and the model's name")
    model: str = Field(
        "phi-3.5-mini", min_length=1, description="a preset, a hub id or a local folder"
    )
    revision: str | None = Field(None, description="commit of a hub model; presets pin their own")
    target: Literal["local", "azure"] = Field(
        "local", description="where training, packaging and evaluation run, and the model is served"
    )
    data: Data = Data()
    train: Train = Train()
    package: Package = Package()
    evaluate: Evaluate = Evaluate()
    gate: Gate = Gate()
    serve: Serve = Serve()
    endpoint: Endpoint = Endpoint()
    flow: Flow = Flow()
    mlflow: Mlflow = Mlflow()
    azure: Azure = Azure()

    @field_validator("model")
    @classmethod
    def _no_credentials(cls, value: str) -> str:
        if re.match(r"[a-z]+://", value):
            raise ValueError("is a preset, a hub id or a local folder, not an address")
        return value
