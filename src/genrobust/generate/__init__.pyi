from .listed import read_listed as read_listed
from .locate import weights_bytes as weights_bytes
from .pipeline import identity as identity, sampling as sampling
from .plan import Plan as Plan, class_templates as class_templates, plan_of as plan_of
from .run import Generation as Generation
from .templates import templates_of as templates_of
from .train.class_model import class_model_job as class_model_job, train_class_model as train_class_model
from .train.finetune import finetune as finetune, finetune_job as finetune_job
from .train.tuned import is_trained as is_trained
