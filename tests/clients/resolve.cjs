// For `node --require`: names below acme.test are on this machine, as a customer's DNS record would say.
const dns = require("node:dns");

const lookup = dns.lookup;
dns.lookup = (name, ...others) => lookup(name.endsWith(".acme.test") ? "127.0.0.1" : name, ...others);
