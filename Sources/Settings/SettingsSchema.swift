/// The JSON Schema (draft 2020-12) of the settings file, for editors. The decoder is stricter: it also knows which settings
/// exclude each other.
package enum SettingsSchema {
    /// The schema's text, JSON.
    package static let text = #"""
        {
          "$schema": "https://json-schema.org/draft/2020-12/schema",
          "title": "twinport settings",
          "type": ["object", "null"],
          "additionalProperties": false,
          "properties": {
            "hostNetworking": {
              "description": "The toggle.",
              "type": ["object", "null"], "additionalProperties": false,
              "properties": { "enabled": { "type": "boolean", "default": false } }
            },
            "enhancedContainerIsolation": {
              "description": "Excludes host networking.", "type": "boolean", "default": false
            },
            "tunnel": {
              "description": "Where helper and agent meet: listen or connect.",
              "type": ["object", "null"], "additionalProperties": false,
              "not": { "required": ["listen", "connect"] },
              "properties": {
                "listen": { "$ref": "#/$defs/uri" },
                "connect": { "$ref": "#/$defs/uri" },
                "key": {
                  "description": "The key file, which \"twinport key new\" makes; an absolute path.",
                  "type": "string", "pattern": "^/"
                }
              }
            },
            "guestToHost": {
              "description": "Listeners of the guest, mirrored on the host.",
              "type": ["object", "null"], "additionalProperties": false,
              "properties": {
                "enabled": { "type": "boolean", "default": true },
                "rules": {
                  "description": "What holds of single listeners; the first rule that matches decides.",
                  "type": ["array", "null"], "maxItems": 1000,
                  "items": { "$ref": "#/$defs/mirrorRule" }
                },
                "bind": {
                  "description": "Where mirrors of 0.0.0.0 and [::] stand; auto: same for containers only.",
                  "enum": ["auto", "same", "loopback"], "default": "auto"
                },
                "scope": { "enum": ["all", "containers"], "default": "all" },
                "clientAddress": {
                  "description": "The address that the guest's servers see of other machines' clients.",
                  "enum": ["real", "guest", "loopback"], "default": "real"
                },
                "only": { "$ref": "#/$defs/only" },
                "ignore": { "$ref": "#/$defs/ports" }
              }
            },
            "hostToGuest": {
              "description": "Listeners of the host, mirrored in the guest.",
              "type": ["object", "null"], "additionalProperties": false,
              "properties": {
                "enabled": { "type": "boolean", "default": true },
                "rules": {
                  "type": ["array", "null"], "maxItems": 1000,
                  "items": { "$ref": "#/$defs/offerRule" }
                },
                "only": { "$ref": "#/$defs/only" },
                "ignore": { "$ref": "#/$defs/ports" },
                "showOwners": {
                  "description": "Whether the guest learns whose listeners they are.",
                  "type": "boolean", "default": false
                },
                "otherGuests": {
                  "description": "Whether mirrors of other guests are offered, too.",
                  "type": "boolean", "default": false
                }
              }
            },
            "forwards": {
              "description": "Places of both machines that are joined, whatever listens there.",
              "type": ["array", "null"], "maxItems": 64, "items": { "$ref": "#/$defs/forward" }
            },
            "udp": {
              "type": ["object", "null"], "additionalProperties": false,
              "properties": {
                "idle": { "$ref": "#/$defs/duration", "default": "300s" },
                "ephemeralAfter": {
                  "anyOf": [{ "const": "never" }, { "$ref": "#/$defs/duration" }], "default": "2s"
                }
              }
            },
            "scan": {
              "type": ["object", "null"], "additionalProperties": false,
              "properties": {
                "interval": {
                  "anyOf": [{ "const": "adaptive" }, { "$ref": "#/$defs/duration" }],
                  "default": "adaptive"
                },
                "hints": { "type": "boolean", "default": true }
              }
            },
            "guests": {
              "description": "Several guests, each with a tunnel of its own. What one does not say, the sections above do.",
              "type": "array", "minItems": 1, "maxItems": 64,
              "items": { "$ref": "#/$defs/guest" }
            }
          },
          "not": {
            "required": ["guests"],
            "anyOf": [{ "required": ["tunnel"] }, { "required": ["forwards"] }]
          },
          "$defs": {
            "guest": {
              "type": "object", "additionalProperties": false, "required": ["name", "tunnel"],
              "properties": {
                "name": {
                  "description": "How people call it; also its name in /etc/hosts.",
                  "type": "string", "pattern": "^[a-z0-9]([a-z0-9-]{0,61}[a-z0-9])?$"
                },
                "enabled": { "type": "boolean", "default": true },
                "tunnel": {
                  "allOf": [{ "$ref": "#/properties/tunnel" }], "type": "object",
                  "anyOf": [{ "required": ["listen"] }, { "required": ["connect"] }]
                },
                "address": {
                  "description": "Where its wildcard and loopback listeners are mirrored, as 127.0.1.2.",
                  "type": "string", "pattern": "^127[.][0-9]{1,3}[.][0-9]{1,3}[.][0-9]{1,3}$"
                },
                "guestToHost": { "$ref": "#/properties/guestToHost" },
                "hostToGuest": { "$ref": "#/properties/hostToGuest" },
                "forwards": { "$ref": "#/properties/forwards" },
                "udp": { "$ref": "#/properties/udp" }
              }
            },
            "uri": {
              "description": "As unix:///run/twinport.sock, vsock://any:1024 or tcp://192.168.1.5:7070.",
              "type": "string", "pattern": "^(unix|vsock|firecracker|tcp)://."
            },
            "port": {
              "description": "As tcp/80, udp/5000-5010 or */53.",
              "type": "string", "pattern": "^(tcp|udp|[*])/([*]|[0-9]{1,5}(-[0-9]{1,5})?)$"
            },
            "ports": {
              "description": "Which are left out.",
              "type": ["array", "null"], "items": { "$ref": "#/$defs/port" }
            },
            "only": {
              "description": "Which are mirrored: no other ones; [] for none.",
              "type": "array", "items": { "$ref": "#/$defs/port" }
            },
            "duration": { "type": "string", "pattern": "^[0-9]{1,8}(ms|s|m|h)$" },
            "match": {
              "anyOf": [
                { "$ref": "#/$defs/port" },
                {
                  "type": "object", "additionalProperties": false, "minProperties": 1,
                  "properties": {
                    "port": { "$ref": "#/$defs/port" },
                    "address": { "type": "string" },
                    "container": { "type": "string", "minLength": 1, "maxLength": 256 },
                    "process": { "type": "string", "minLength": 1, "maxLength": 256 },
                    "uid": { "type": "integer", "minimum": 0, "maximum": 4294967295 }
                  }
                }
              ]
            },
            "mirrorRule": {
              "type": "object", "additionalProperties": false,
              "required": ["match"], "minProperties": 2,
              "properties": {
                "match": { "$ref": "#/$defs/match" },
                "ignore": { "type": "boolean" },
                "bind": {
                  "description": "same, loopback, auto, or an address of the desktop.", "type": "string"
                },
                "host": {
                  "description": "Where the mirror stands: 8080, 127.0.0.1:8080 or 6000-6010.",
                  "anyOf": [
                    { "type": "integer", "minimum": 1, "maximum": 65535 },
                    { "type": "string", "pattern": "[0-9]$" }
                  ]
                },
                "onConflict": { "enum": ["next", "fail"], "default": "fail" },
                "proxyProtocol": {
                  "description": "TCP connections begin with a header that names the client.", "const": 2
                }
              }
            },
            "place": {
              "description": "As unix:///run/docker.sock or tcp/127.0.0.1:9229.",
              "type": "string", "anyOf": [
                { "pattern": "^unix:///[^\\u0000-\\u001f\\u007f]{0,105}[^/\\u0000-\\u001f\\u007f]$" },
                { "allOf": [{ "$ref": "#/$defs/tcpPort" }], "anyOf": [
                  { "$ref": "#/$defs/tcpV4" }, { "$ref": "#/$defs/tcpV6" }
                ] }
              ]
            },
            "tcpPort": {
              "pattern": "^tcp/.+:0*([1-9][0-9]{0,3}|[1-5][0-9]{4}|6[0-4][0-9]{3}|65[0-4][0-9]{2}|655[0-2][0-9]|6553[0-5])$"
            },
            "tcpV4": {
              "pattern": "^tcp/(?!22[4-9][.]|23[0-9][.]|255[.]255[.]255[.]255:)(25[0-5]|2[0-4][0-9]|1[0-9]{2}|[1-9]?[0-9])([.](25[0-5]|2[0-4][0-9]|1[0-9]{2}|[1-9]?[0-9])){3}:[0-9]+$"
            },
            "tcpV6": {
              "pattern": "^tcp/\\[(?![Ff][Ff][0-9A-Fa-f]{2}:)([0-9A-Fa-f]{1,4}(:[0-9A-Fa-f]{1,4}){7}|[0-9A-Fa-f]{1,4}(:[0-9A-Fa-f]{1,4}){5}:(25[0-5]|2[0-4][0-9]|1[0-9]{2}|[1-9]?[0-9])([.](25[0-5]|2[0-4][0-9]|1[0-9]{2}|[1-9]?[0-9])){3}|(?!(:*[0-9A-Fa-f]{1,4}\\b){8})([0-9A-Fa-f]{1,4}(:[0-9A-Fa-f]{1,4})*)?::([0-9A-Fa-f]{1,4}(:[0-9A-Fa-f]{1,4})*)?|(?=[^.]*::)(?!(:*[0-9A-Fa-f]{1,4}\\b(?![.])){6})([0-9A-Fa-f]{1,4}(:[0-9A-Fa-f]{1,4})*)?::([0-9A-Fa-f]{1,4}:)*(25[0-5]|2[0-4][0-9]|1[0-9]{2}|[1-9]?[0-9])([.](25[0-5]|2[0-4][0-9]|1[0-9]{2}|[1-9]?[0-9])){3})\\]:[0-9]+$"
            },
            "service": { "not": { "pattern": "^tcp/(0[.]0[.]0[.]0|\\[[0:.]+\\]):" } },
            "unixPlace": { "pattern": "^unix:" },
            "forward": {
              "type": "object", "additionalProperties": false,
              "required": ["host", "guest", "listen"],
              "allOf": [{
                "description": "All addresses can be listened at, and not dialled.",
                "anyOf": [
                  { "properties": { "listen": { "const": "host" }, "guest": { "$ref": "#/$defs/service" } } },
                  { "properties": { "listen": { "const": "guest" }, "host": { "$ref": "#/$defs/service" } } }
                ]
              }, {
                "description": "mode, uid and gid are those of a Unix socket.",
                "anyOf": [
                  { "not": { "anyOf": [
                    { "required": ["mode"] }, { "required": ["uid"] }, { "required": ["gid"] }
                  ] } },
                  { "properties": { "listen": { "const": "host" }, "host": { "$ref": "#/$defs/unixPlace" } } },
                  { "properties": { "listen": { "const": "guest" }, "guest": { "$ref": "#/$defs/unixPlace" } } }
                ]
              }],
              "properties": {
                "host": { "$ref": "#/$defs/place" },
                "guest": { "$ref": "#/$defs/place" },
                "listen": {
                  "description": "Where programs connect; the service is at the other end.",
                  "enum": ["host", "guest"]
                },
                "mode": {
                  "description": "Of the Unix socket that is made, as 0660.",
                  "type": ["string", "integer"], "default": "0600"
                },
                "uid": { "type": "integer", "minimum": 0, "maximum": 4294967294 },
                "gid": { "type": "integer", "minimum": 0, "maximum": 4294967294 }
              }
            },
            "offerRule": {
              "type": "object", "additionalProperties": false,
              "required": ["match"], "minProperties": 2,
              "properties": {
                "match": { "$ref": "#/$defs/match" }, "ignore": { "type": "boolean" },
                "guest": {
                  "description": "Where the mirror stands: 15432, 127.0.0.1:15432 or 6000-6010.",
                  "anyOf": [
                    { "type": "integer", "minimum": 1, "maximum": 65535 },
                    { "type": "string", "pattern": "[0-9]$" }
                  ]
                },
                "onConflict": { "enum": ["next", "fail"], "default": "fail" }
              }
            }
          }
        }
        """#
}
