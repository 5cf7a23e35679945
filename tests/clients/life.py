"""A VM's life by proxmoxer: made, listed, changed, started, stopped and deleted.

Host, port, token and the CA come from the environment. Prints what it saw as one JSON object.
"""

import json
import os

from proxmoxer import ProxmoxAPI, ResourceException
from proxmoxer.tools import Tasks

api = ProxmoxAPI(
    os.environ["PROXMOX_HOST"],
    port=int(os.environ["PROXMOX_PORT"]),
    user=os.environ["PROXMOX_USER"],
    token_name=os.environ["PROXMOX_TOKEN_ID"],
    token_value=os.environ["PROXMOX_TOKEN_SECRET"],
    verify_ssl=os.environ["REQUESTS_CA_BUNDLE"],
)


def finished(upid):
    """The task's status once it has ended."""
    status = Tasks.blocking_status(api, upid, timeout=30, polling_interval=0.05)
    assert status is not None, f"{upid} did not end"
    return status["exitstatus"]


seen = {"version": api.version.get()["version"]}
node = api.nodes.get()[0]["node"]
seen["storages"] = sorted(storage["storage"] for storage in api.nodes(node).storage.get())
vmid = int(api.cluster.nextid.get())
vms = api.nodes(node).qemu
seen["create"] = finished(
    vms.post(
        vmid=vmid,
        name="by-proxmoxer",
        memory=512,
        cores=1,
        scsihw="virtio-scsi-single",
        scsi0="local-lvm:1",
        net0="virtio,bridge=vmbr0",
        tags="a;b",
    )
)
seen["listed"] = [vm["name"] for vm in vms.get() if vm["vmid"] == vmid]
seen["in_cluster"] = [vm["vmid"] for vm in api.cluster.resources.get(type="vm") if vm["vmid"] == vmid] == [vmid]
vm = vms(vmid)
vm.config.put(description="changed by proxmoxer", cores=2)
config = vm.config.get()
seen["cores"] = config["cores"]
seen["mac"] = config["net0"].split("=")[1].split(",")[0]
seen["start"] = finished(vm.status.start.post())
seen["running"] = vm.status.current.get()["status"]
try:
    vm.delete()
except ResourceException as refused:
    seen["refused"] = [refused.status_code, refused.content]
seen["snapshot_names"] = [snapshot["name"] for snapshot in vm.snapshot.get()]
seen["stop"] = finished(vm.status.stop.post())

# The same site for a person with a password: a cookie, and a token for what writes.
api.access.users.post(userid="visitor@pve", password="not a secret")
api.access.acl.put(path="/", users="visitor@pve", roles="Administrator")
visitor = ProxmoxAPI(
    os.environ["PROXMOX_HOST"],
    port=int(os.environ["PROXMOX_PORT"]),
    user="visitor@pve",
    password="not a secret",
    verify_ssl=os.environ["REQUESTS_CA_BUNDLE"],
)
seen["as_visitor"] = visitor.version.get()["version"]
copy = visitor.nodes(node).qemu(vmid + 1)
seen["template"] = finished(visitor.nodes(node).qemu(vmid).template.post())
seen["clone"] = finished(visitor.nodes(node).qemu(vmid).clone.post(newid=vmid + 1, name="copy"))
seen["snapshot"] = finished(copy.snapshot.post(snapname="first"))
seen["clone_deleted"] = finished(copy.delete())
api.access.users("visitor@pve").delete()
seen["delete"] = finished(vm.delete(purge=1))
last = api.nodes(node).tasks.get(vmid=vmid, limit=1)[0]
seen["log"] = [line["t"] for line in api.nodes(node).tasks(last["upid"]).log.get()]
try:
    vm.config.get()
except ResourceException as gone:
    seen["gone"] = [gone.status_code, gone.content]
iso = os.path.join(os.environ["CLIENT_DIR"], "hello.iso")
with open(iso, "wb") as file:
    file.write(b"\0" * 2048)
with open(iso, "rb") as file:
    seen["upload"] = finished(api.nodes(node).storage("local").upload.post(content="iso", filename=file))
volumes = [volume["volid"] for volume in api.nodes(node).storage("local").content.get(content="iso")]
seen["uploaded"] = "local:iso/hello.iso" in volumes
api.nodes(node).storage("local").content("local:iso/hello.iso").delete()
print(json.dumps(seen))
