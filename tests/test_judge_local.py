"""Judges over transformers: the real architectures, their real processors, and tiny random weights.

No published weights can be had here. A tiny Qwen2.5-VL learns two replies by heart, one a picture, so that a
whole judgement, from pixels to a validated grade, runs through the code that a trained one would use.
"""

from importlib import import_module

import pytest
import torch
from PIL import Image
from tokenizers import Tokenizer, decoders, models, pre_tokenizers
from tokenizers.processors import TemplateProcessing
from transformers import (
    Blip2Config,
    Blip2ForImageTextRetrieval,
    Blip2Processor,
    BlipConfig,
    BlipForImageTextRetrieval,
    BlipImageProcessor,
    BlipProcessor,
    PreTrainedTokenizerFast,
    Qwen2_5_VLConfig,
    Qwen2_5_VLForConditionalGeneration,
    Qwen2_5_VLProcessor,
    Qwen2VLImageProcessor,
    Qwen2VLVideoProcessor,
)

from geoclip_lite import judge
from geoclip_lite.chat import BadReplyError
from geoclip_lite.encoders import WeightsError
from geoclip_lite.judge import Budget, Concept, LocalModel, MatchingJudge, ModelJudge
from geoclip_lite.retrieval import Ranking
from geoclip_lite.scenes import Scene

MARKS = ("<|im_start|>", "<|im_end|>", "<|vision_start|>", "<|vision_end|>", "<|image_pad|>", "<|video_pad|>")
TEMPLATE = """{% for m in messages %}<|im_start|>{{ m.role }}
{% for part in m.content %}{% if part.type == 'image' %}<|vision_start|><|image_pad|><|vision_end|>
{%- else %}{{ part.text }}{% endif %}{% endfor %}<|im_end|>
{% endfor %}{% if add_generation_prompt %}<|im_start|>assistant
{% endif %}"""
DEVICES = ["cpu", *(["cuda"] if torch.cuda.is_available() else [])]
REPLIES = {"red": '{"reason": "r", "grade": 4}', "blue": '{"reason": "b", "grade": 1}'}


def plain(colour):
    return Scene(colour, colour, (), lambda size: Image.new("RGB", (size, size), colour))


RED, BLUE = plain("red"), plain("blue")


def byte_tokenizer(marks, **about):
    """Every byte a token, and the marks."""
    alphabet = sorted(pre_tokenizers.ByteLevel.alphabet())
    tokenizer = Tokenizer(models.BPE(vocab={c: i for i, c in enumerate(alphabet)}, merges=[]))
    tokenizer.pre_tokenizer = pre_tokenizers.ByteLevel(add_prefix_space=False)
    tokenizer.decoder = decoders.ByteLevel()
    tokenizer.add_special_tokens(list(marks))
    return PreTrainedTokenizerFast(tokenizer_object=tokenizer, **about)


# --- a vision-language model ----------------------------------------------------------------------


def qwen_processor():
    tokenizer = byte_tokenizer(MARKS, eos_token="<|im_end|>", pad_token="<|im_end|>")
    return Qwen2_5_VLProcessor(
        Qwen2VLImageProcessor(), tokenizer, Qwen2VLVideoProcessor(), chat_template=TEMPLATE
    )


def tiny_qwen(tokenizer):
    start, end, vision_start, vision_end, image, video = tokenizer.convert_tokens_to_ids(list(MARKS))
    text = {
        "vocab_size": len(tokenizer),
        "hidden_size": 64,
        "intermediate_size": 128,
        "num_hidden_layers": 2,
        "num_attention_heads": 4,
        "num_key_value_heads": 2,
        "rope_parameters": {"rope_type": "default", "mrope_section": [2, 3, 3], "rope_theta": 10000.0},
        "bos_token_id": start,
        "eos_token_id": end,
        "pad_token_id": end,
    }
    vision = {"depth": 1, "hidden_size": 32, "intermediate_size": 64, "num_heads": 2, "out_hidden_size": 64}
    ids = {
        "image_token_id": image,
        "video_token_id": video,
        "vision_start_token_id": vision_start,
        "vision_end_token_id": vision_end,
    }
    torch.manual_seed(0)
    config = Qwen2_5_VLConfig(text_config=text, vision_config=vision | {"fullatt_block_indexes": [0]}, **ids)
    return Qwen2_5_VLForConditionalGeneration(config)


def learn(model, processor, prompt, size):
    """Teaches the reply to each picture by heart."""
    said = [
        [
            {
                "role": "user",
                "content": [{"type": "image", "image": s.image(size)}, {"type": "text", "text": prompt}],
            },
            {"role": "assistant", "content": [{"type": "text", "text": REPLIES[s.image_id]}]},
        ]
        for s in (RED, BLUE)
    ]
    batch = processor.apply_chat_template(said, tokenize=True, return_dict=True, return_tensors="pt")
    labels = batch["input_ids"].clone()
    labels[:, : -len(REPLIES["red"]) - 2] = -100  # the reply, its end mark and a newline
    optimizer = torch.optim.Adam(model.parameters(), 3e-3)
    for _ in range(120):
        loss = model(**batch, labels=labels).loss
        if loss < 0.01:
            break
        optimizer.zero_grad()
        loss.backward()
        optimizer.step()
    return float(loss.detach())


@pytest.fixture(scope="module")
def taught(tmp_path_factory):
    """The folder of a tiny Qwen2.5-VL that knows two replies."""
    processor = qwen_processor()
    model = tiny_qwen(processor.tokenizer)
    loss = learn(model, processor, judge.questions.prompt(RED), size=56)
    assert loss < 0.05, "it has not learnt them, so what follows would say nothing about the package"
    folder = tmp_path_factory.mktemp("qwen")
    model.save_pretrained(folder)
    processor.save_pretrained(folder)
    return folder


@pytest.fixture(params=DEVICES)
def local(taught, request):
    return LocalModel.load(str(taught), device=request.param)


def test_a_local_model_grades_what_it_sees(local, tmp_path):
    asker = ModelJudge(local, folder=tmp_path, size=56)
    red, blue = asker([(RED, RED), (RED, BLUE)])
    assert (red.score, red.reason) == (4, "r")
    assert (blue.score, blue.reason) == (1, "b")
    first = Ranking(torch.tensor([[1, 0]]), torch.tensor([[0.9, 0.8]]), 2)
    assert judge.rerank(first, [RED], [RED, BLUE], asker).indices.tolist() == [[0, 1]]


def test_a_local_model_is_told_all_turns(local):
    seen = []
    apply = local.processor.apply_chat_template

    def listening(said, **form):
        seen.append(local.processor.tokenizer.decode(apply(said, **form)["input_ids"][0]))
        return apply(said, **form)

    local.processor.apply_chat_template = listening
    local.reply(["what is it?", "a cat", "JSON alone"], RED.image(56))
    [told] = seen
    image = "<|vision_start|>" + 4 * "<|image_pad|>" + "<|vision_end|>"
    turns = [f"user\n{image}what is it?", "assistant\na cat", "user\nJSON alone"]
    assert told == "".join(f"<|im_start|>{turn}<|im_end|>\n" for turn in turns) + "<|im_start|>assistant\n"


def test_the_same_question_gets_the_same_reply(local):
    assert len({local.reply(["what is it?"], RED.image(56)) for _ in range(3)}) == 1


def test_a_local_model_that_says_nothing(local):
    end = local.model.config.text_config.eos_token_id
    local.model.generate = lambda input_ids, **_: torch.cat([input_ids, input_ids[:, :1] * 0 + end], dim=1)
    with pytest.raises(BadReplyError, match="said nothing"):
        local.reply(["what is it?"], RED.image(56))


def test_babble_is_no_judgement(tmp_path):
    processor = qwen_processor()
    babbling = LocalModel("random", tiny_qwen(processor.tokenizer).eval(), processor)
    with pytest.raises(BadReplyError, match="no valid reply to 1 of 1 questions"):
        ModelJudge(babbling, folder=tmp_path, size=56)([(RED, RED)])


@pytest.mark.parametrize("size", [(56, 56), (84, 140), (100, 60), (336, 336)])
def test_the_rule_for_a_picture_s_tokens_is_qwen_s(size):
    processor = qwen_processor()
    grid = processor.image_processor(Image.new("RGB", size), return_tensors="pt")["image_grid_thw"]
    theirs = int(grid.prod()) // processor.image_processor.merge_size**2
    ours = Budget().cost(["x"], [size]).pictures
    assert ours == theirs if all(side % 28 == 0 for side in size) else theirs <= ours <= 2 * theirs


# --- image-text matching --------------------------------------------------------------------------

SIDE = 32
VISION = {"hidden_size": 32, "intermediate_size": 64, "num_hidden_layers": 1, "num_attention_heads": 2}
VISION |= {"image_size": SIDE, "patch_size": 8}


def bert_like():
    """A tokenizer that opens and closes a text, as BLIP's do."""
    tokenizer = byte_tokenizer(
        ("[PAD]", "[CLS]", "[SEP]"), pad_token="[PAD]", cls_token="[CLS]", sep_token="[SEP]"
    )
    ends = [(name, tokenizer.convert_tokens_to_ids(name)) for name in ("[CLS]", "[SEP]")]
    tokenizer.backend_tokenizer.post_processor = TemplateProcessing("[CLS] $A [SEP]", special_tokens=ends)
    tokenizer.model_max_length = 64
    return tokenizer


def blip():
    tokenizer = bert_like()
    text = {
        "vocab_size": len(tokenizer),
        "hidden_size": 32,
        "encoder_hidden_size": 32,
        "intermediate_size": 64,
    }
    text |= {"num_hidden_layers": 1, "num_attention_heads": 2, "projection_dim": 32}
    config = BlipConfig(text_config=text, vision_config=VISION, image_text_hidden_size=16)
    processor = BlipProcessor(BlipImageProcessor(size={"height": SIDE, "width": SIDE}), tokenizer)
    return BlipForImageTextRetrieval(config), processor


def blip_2():
    tokenizer = bert_like()
    processor = Blip2Processor(BlipImageProcessor(size={"height": SIDE, "width": SIDE}), tokenizer, 4)
    former = {"vocab_size": len(processor.tokenizer), "hidden_size": 32, "encoder_hidden_size": 32}
    former |= {"num_hidden_layers": 2, "num_attention_heads": 2, "intermediate_size": 64}
    former |= {"use_qformer_text_input": True}
    config = Blip2Config(
        vision_config=VISION,
        qformer_config=former,
        num_query_tokens=4,
        image_text_hidden_size=16,
        image_token_index=processor.tokenizer.convert_tokens_to_ids("<image>"),
    )
    return Blip2ForImageTextRetrieval(config), processor


@pytest.fixture(params=[blip, blip_2], ids=["BLIP", "BLIP-2"])
def matching(request):
    torch.manual_seed(0)
    model, processor = request.param()
    for weight in model.parameters():  # random enough for pairs to differ
        torch.nn.init.normal_(weight, std=0.2)
    return MatchingJudge("random", model.eval(), processor, size=SIDE)


TEXTS = ["a red circle", "blue", "a longer text about a blue star"]
PAIRS = [(Scene(text, text, (), draw=None), picture) for text in TEXTS for picture in (RED, BLUE)]


def test_matching_equals_the_model_asked_pair_by_pair(matching):
    """In batches texts of different length are padded, which must change nothing."""
    name = {"blip": "use_itm_head", "blip-2": "use_image_text_matching_head"}[
        matching.model.config.model_type
    ]
    told = matching(PAIRS)
    for (query, item), judgement in zip(PAIRS, told, strict=True):
        inputs = matching.processor(images=item.image(SIDE), text=query.caption, return_tensors="pt")
        with torch.no_grad():
            output = matching.model(**inputs, **{name: True})
        logits = output.itm_score if "itm_score" in output else output.logits_per_image
        assert judgement.score == pytest.approx(4 * float(logits.softmax(1)[0, 1]), abs=1e-4)
    assert len({round(j.score, 4) for j in told}) == len(PAIRS), "else this compares constants"


def test_a_concept_scores_a_probability(matching):
    concept, query = Concept((("colour", "red"), ("noun", "star"))), Scene("q", "red star", (), draw=None)
    one, four = matching([(concept, RED), (query, RED)])
    assert four.score == pytest.approx(4 * one.score)
    assert 0 <= one.score <= 1


def test_matching_reranks(matching):
    queries = [query for query, _ in PAIRS[::2]]
    first = Ranking(torch.tensor([[0, 1]] * 3), torch.tensor([[0.9, 0.8]] * 3), 2)
    ranking = judge.rerank(first, queries, [RED, BLUE], matching)
    by_hand = torch.tensor([j.score for j in matching(PAIRS)]).view(3, 2)
    assert torch.equal(ranking.indices, by_hand.argsort(dim=1, descending=True))
    assert (ranking.method, ranking.oracle) == ("random", False)


@pytest.mark.parametrize("device", DEVICES)
def test_a_matching_model_is_loaded_from_a_folder(matching, tmp_path, device):
    matching.model.save_pretrained(tmp_path)
    matching.processor.save_pretrained(tmp_path)
    loaded = MatchingJudge.load(str(tmp_path), device=device)
    assert loaded.name == str(tmp_path)
    for ours, theirs in zip(loaded(PAIRS), matching(PAIRS), strict=True):
        assert ours.score == pytest.approx(theirs.score, abs=1e-3)


def test_blip_s_own_mask_lies_where_the_model_does():
    """No second device is needed to see it: meta tensors know where they are, and compute nothing."""
    model, processor = blip()
    seen = []

    def hook(_module, _args, about):
        seen.append(about["encoder_attention_mask"].device.type)

    model.text_encoder.register_forward_pre_hook(hook, with_kwargs=True)
    far = MatchingJudge("far", model.to("meta"), processor, size=SIDE)
    with pytest.raises((NotImplementedError, RuntimeError), match="meta"):
        far([(PAIRS[0][0], RED)])
    assert seen == ["meta"]


# --- what is refused ------------------------------------------------------------------------------


@pytest.mark.parametrize("kind", [LocalModel, MatchingJudge])
def test_a_model_that_is_not_there(kind, tmp_path):
    with pytest.raises(WeightsError, match="no model"):
        kind.load(str(tmp_path / "none"))


@pytest.mark.parametrize("kind", [LocalModel, MatchingJudge])
def test_without_transformers_it_says_what_to_install(kind, monkeypatch):
    def missing(name):
        raise ImportError(name)

    monkeypatch.setattr(judge.local, "import_module", missing)
    with pytest.raises(ImportError, match=r"geoclip-lite\[vlm\]"):
        kind.load("anything")
    assert import_module("transformers")


def test_a_model_of_another_kind_does_not_match(taught, local):
    with pytest.raises(ValueError, match=r"one of blip, blip-2, .* is 'qwen2_5_vl'"):
        MatchingJudge.load(str(taught))
    with pytest.raises(ValueError, match="model must be one of"):
        MatchingJudge("x", local.model, local.processor)
