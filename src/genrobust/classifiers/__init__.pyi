from .architectures import has_fixed_size as has_fixed_size, timm_name as timm_name
from .checkpoints import (
    WEIGHTS as WEIGHTS,
    CheckpointInfo as CheckpointInfo,
    fetch_checkpoint as fetch_checkpoint,
    is_checkpoint as is_checkpoint,
    read_checkpoint_info as read_checkpoint_info,
)
from .clip import (
    Clip as Clip,
    clip_embeddings as clip_embeddings,
    embed_classes as embed_classes,
    embed_ensembles as embed_ensembles,
    embed_texts as embed_texts,
    load_clip as load_clip,
)
from .existing import (
    Existing as Existing,
    open_checkpoint as open_checkpoint,
    open_existing as open_existing,
    predict_existing as predict_existing,
)
from .matching import Prepared as Prepared, columns_of as columns_of
from .models import (
    Classifier as Classifier,
    autocast as autocast,
    create_classifier as create_classifier,
    embed_images as embed_images,
    load_checkpoint as load_checkpoint,
    place as place,
    predict_logits as predict_logits,
    save_checkpoint as save_checkpoint,
    save_tensors as save_tensors,
)
from .onnx_files import CONFIG as CONFIG, LABELS as LABELS
from .opening import (
    FOLDER as FOLDER,
    TIMM_CONFIG as TIMM_CONFIG,
    OpenClassifier as OpenClassifier,
    is_timm_folder as is_timm_folder,
    open_classifier as open_classifier,
)
from .precision import AUTO as AUTO, resolved_here as resolved_here, settle as settle, with_dtype as with_dtype
from .predicting import images_in as images_in, predict_images as predict_images
from .predictor import predict_all as predict_all
from .preprocess import prepare as prepare, protocol as protocol
from .saved import SavedPredictions as SavedPredictions
from .training_state import (
    STATE as STATE,
    LossScaler as LossScaler,
    TrainingState as TrainingState,
    claim_training as claim_training,
    require_same_job as require_same_job,
)
from .zero_shot import predict_zero_shot as predict_zero_shot
