from .auto_precision import (
    AUTO as AUTO,
    choose_precisions as choose_precisions,
    resolved_here as resolved_here,
    with_precision as with_precision,
)
from .classifier_specs import open_classifier as open_classifier
from .image_preparation import BICUBIC as BICUBIC, prepare as prepare, protocol as protocol
from .initial_network import Initial as Initial, open_initial as open_initial
from .networks.architectures import (
    has_fixed_size as has_fixed_size,
    require_size as require_size,
    timm_name as timm_name,
)
from .networks.checkpoint_info import (
    WEIGHTS as WEIGHTS,
    CheckpointInfo as CheckpointInfo,
    checkpoint_manifest as checkpoint_manifest,
    is_checkpoint as is_checkpoint,
    read_checkpoint_info as read_checkpoint_info,
    saved_steps as saved_steps,
    weights_hash as weights_hash,
)
from .networks.classifier_network import (
    Classifier as Classifier,
    autocast as autocast,
    create_classifier as create_classifier,
    load_checkpoint as load_checkpoint,
    move_to as move_to,
    save_checkpoint as save_checkpoint,
    save_tensors as save_tensors,
)
from .networks.last_layers import head_name as head_name, last_linear as last_linear
from .networks.logits import Feed as Feed, predict_logits as predict_logits, val_top1 as val_top1
from .networks.training_state import (
    LossScaler as LossScaler,
    TrainingState as TrainingState,
    claim_training as claim_training,
    require_same_job as require_same_job,
)
from .networks.wise_ft import interpolate_checkpoint as interpolate_checkpoint
from .opened_classifier import ADAPTED_TO as ADAPTED_TO, Blueprint as Blueprint, OpenClassifier as OpenClassifier
from .predict.adapted_batch_norms import batch_norms as batch_norms
from .predict.classify_images import Answer as Answer, classify_images as classify_images, images_in as images_in
from .predict.predict_sets import predict_sets as predict_sets
from .predict.resumable import (
    compute_in_parts as compute_in_parts,
    embed_in_parts as embed_in_parts,
    logits_in_parts as logits_in_parts,
)
from .predict.saved_predictions import (
    PredictedBy as PredictedBy,
    SavedPredictions as SavedPredictions,
    are_saved as are_saved,
    prediction_folder as prediction_folder,
    prediction_inputs as prediction_inputs,
)
from .sources.clip import (
    Clip as Clip,
    clip_embeddings as clip_embeddings,
    embed_ensembles as embed_ensembles,
    load_clip as load_clip,
)
from .sources.model_folders import (
    HUB as HUB,
    TIMM_CONFIG as TIMM_CONFIG,
    hash_clip as hash_clip,
    is_cached as is_cached,
    require_clip as require_clip,
)
from .sources.own_checkpoints import open_checkpoint as open_checkpoint, open_run as open_run
from .sources.zero_shot import open_zero_shot as open_zero_shot
from .training_images import (
    TrainingImages as TrainingImages,
    find_training_images as find_training_images,
    read_training_images as read_training_images,
    shorten as shorten,
)
