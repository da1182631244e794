"""Storage: the local disk, and object stores."""

from offsite.store.disk import (
    link_or_copy,
    local_path,
    make_folders,
    new_folder,
    private_opener,
    privately,
    publish,
    tighten,
    user_path,
    whole_folder,
    write_whole,
)
from offsite.store.disk_errors import check_room, disk_errors
from offsite.store.folder import FolderStore
from offsite.store.locks import locked
from offsite.store.objects import ObjectStore

__all__ = [
    "FolderStore",
    "ObjectStore",
    "check_room",
    "disk_errors",
    "link_or_copy",
    "local_path",
    "locked",
    "make_folders",
    "new_folder",
    "private_opener",
    "privately",
    "publish",
    "tighten",
    "user_path",
    "whole_folder",
    "write_whole",
]
