#define FARCALL_FAMILY "transport/api/families/graph.def"
#include "client_shim/around.h"
#include "transport/api/client_call.h"

namespace farcall::shim {
namespace row = api::row;
namespace {

// Whatever comes of it: from now on only the driver can tell of this event.
template <class Row, class... A>
CUresult with_event(CUevent event, A... arguments) {
  return with_client([&](Client& client) {
    client.completions().kept_by_graph(event);
    return api::call<Row>(arguments...);
  });
}

}  // namespace

template <>
struct Around<row::cuGraphAddEventRecordNode> {
  static CUresult call(CUgraphNode* node, CUgraph graph, const CUgraphNode* after,
                       std::size_t count, CUevent event) {
    return with_event<row::cuGraphAddEventRecordNode>(event, node, graph, after, count, event);
  }
};

template <>
struct Around<row::cuGraphEventRecordNodeSetEvent> {
  static CUresult call(CUgraphNode node, CUevent event) {
    return with_event<row::cuGraphEventRecordNodeSetEvent>(event, node, event);
  }
};

template <>
struct Around<row::cuGraphExecEventRecordNodeSetEvent> {
  static CUresult call(CUgraphExec graph, CUgraphNode node, CUevent event) {
    return with_event<row::cuGraphExecEventRecordNodeSetEvent>(event, graph, node, event);
  }
};

}  // namespace farcall::shim

#include "transport/api/exports.inc"
