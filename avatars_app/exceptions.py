"""What can be wrong with a request for an avatar, beyond what the REST framework knows."""

from rest_framework import status
from rest_framework.exceptions import APIException


class AvatarConflict(APIException):
    status_code = status.HTTP_409_CONFLICT
    default_code = "conflict"


class UploadTooLarge(APIException):
    status_code = status.HTTP_413_REQUEST_ENTITY_TOO_LARGE
    default_code = "too_large"


class PreparationFailed(APIException):
    status_code = status.HTTP_422_UNPROCESSABLE_ENTITY
    default_code = "preparation_failed"
