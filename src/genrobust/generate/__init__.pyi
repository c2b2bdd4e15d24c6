from .engine import (
    Engine as Engine,
    EngineConfig as EngineConfig,
    engine_of as engine_of,
    identity as identity,
)
from .generation import Generation as Generation, open_generated as open_generated
from .mode import MODES as MODES, Mode as Mode
from .pipeline_config import (
    DiffusersConfig as DiffusersConfig,
    LoraConfig as LoraConfig,
)
from .prompt_templates import class_texts as class_texts
from .request_plan import Plan as Plan, plan_of as plan_of
from .train.class_model import ClassModel as ClassModel, styles_of as styles_of
from .train.finetune import Finetune as Finetune
from .train.generator_trainer import train_generator as train_generator, training_inputs as training_inputs
