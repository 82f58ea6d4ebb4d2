"""Controls one OCS agent as the scripts of an observatory do, with OCSClient.

Arguments: the agent's instance-id, then requests, each a line of JSON
`[action, operation, parameters of the action]`. Prints the agent's class, then
every reply, `[status, message, session]`, each as a line of JSON.
"""

import json
import sys

from ocs.ocs_client import OCSClient

instance, *requests = sys.argv[1:]
client = OCSClient(instance, args=[])
print(json.dumps(client._api["agent_class"]))
for request in requests:
    action, operation, parameters = json.loads(request)
    reply = getattr(getattr(client, operation), action)(**parameters)
    print(json.dumps([int(reply.status), reply.msg, reply.session]))
