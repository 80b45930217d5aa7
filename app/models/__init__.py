"""SQLAlchemy tables, one per file. (Neural networks live in ``app.networks``.)"""

from app.models.alias import Alias
from app.models.alias_move import AliasMove
from app.models.api_key import ApiKey
from app.models.audit_record import AuditRecord
from app.models.base import Base
from app.models.browser_session import BrowserSession
from app.models.dataset import Dataset
from app.models.evaluation import Evaluation
from app.models.gpu_lease import GpuLease
from app.models.idempotency_key import IdempotencyKey
from app.models.job import Job
from app.models.job_event import JobEvent
from app.models.job_metric import JobEpoch, JobStep
from app.models.lease import Lease
from app.models.low_disk import LowDisk
from app.models.mlflow_run import MlflowRun
from app.models.prediction_day import PredictionDay
from app.models.product import Product
from app.models.revision import Revision
from app.models.sweep import Sweep
from app.models.trained_model import TrainedModel
from app.models.upload import Upload
from app.models.webhook import Webhook
from app.models.webhook_delivery import WebhookDelivery
from app.models.webhook_event import WebhookEvent
from app.models.worker import Worker

__all__ = [
    "Alias",
    "AliasMove",
    "ApiKey",
    "AuditRecord",
    "Base",
    "BrowserSession",
    "Dataset",
    "Evaluation",
    "GpuLease",
    "IdempotencyKey",
    "Job",
    "JobEpoch",
    "JobEvent",
    "JobStep",
    "Lease",
    "LowDisk",
    "MlflowRun",
    "PredictionDay",
    "Product",
    "Revision",
    "Sweep",
    "TrainedModel",
    "Upload",
    "Webhook",
    "WebhookDelivery",
    "WebhookEvent",
    "Worker",
]
