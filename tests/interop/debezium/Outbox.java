import com.fasterxml.jackson.databind.ObjectMapper;
import io.debezium.embedded.Connect;
import io.debezium.engine.ChangeEvent;
import io.debezium.engine.DebeziumEngine;
import io.debezium.transforms.outbox.EventRouter;
import java.io.FileInputStream;
import java.nio.file.Path;
import java.util.ArrayList;
import java.util.Arrays;
import java.util.List;
import java.util.Map;
import java.util.Properties;
import java.util.TreeMap;
import java.util.concurrent.CountDownLatch;
import java.util.concurrent.Executors;
import org.apache.kafka.connect.header.Header;
import org.apache.kafka.connect.source.SourceRecord;
import org.apache.kafka.connect.storage.Converter;
import org.apache.kafka.connect.storage.HeaderConverter;
import org.apache.kafka.connect.storage.SimpleHeaderConverter;

/**
 * Reads an outbox table with Debezium's Postgres connector until so many events came, and writes what
 * Kafka Connect would send for each, as JSON lines with bytes in Base64.
 *
 * <p>Arguments: how many events; a file with the connector's properties; and files with what else
 * Kafka Connect is told: transforms.outbox.…, key.converter and value.converter. Each of these sees
 * every event, and the lines name it. The deletion of a row is no event.
 */
class Outbox {
    private static final ObjectMapper JSON = new ObjectMapper();

    private final String name;
    private final EventRouter<SourceRecord> router = new EventRouter<>();
    private final HeaderConverter headers = new SimpleHeaderConverter(); // as by default
    private final Converter key;
    private final Converter value;

    public static void main(String[] arguments) throws Exception {
        CountDownLatch missing = new CountDownLatch(Integer.parseInt(arguments[0]));
        List<Outbox> configurations = new ArrayList<>();
        for (String file : Arrays.asList(arguments).subList(2, arguments.length)) {
            configurations.add(new Outbox(file));
        }
        DebeziumEngine<ChangeEvent<SourceRecord, SourceRecord>> engine =
                DebeziumEngine.create(Connect.class)
                        .using(read(arguments[1]))
                        .using((success, message, error) -> {
                            if (!success) {
                                System.err.println(message);
                                System.exit(1);
                            }
                        })
                        .notifying(event -> {
                            int sent = 0;
                            for (Outbox one : configurations) {
                                sent += one.send(event.value());
                            }
                            if (sent > 0) {
                                missing.countDown();
                            }
                        })
                        .build();
        Executors.newSingleThreadExecutor().execute(engine);
        missing.await();
        engine.close();
        System.exit(0);
    }

    Outbox(String file) throws Exception {
        Properties given = read(file);
        name = Path.of(file).getFileName().toString().replace(".properties", "");
        router.configure(below("transforms.outbox.", given));
        headers.configure(Map.of());
        key = converter("key.converter", given, true);
        value = converter("value.converter", given, false);
    }

    private static Converter converter(String what, Properties given, boolean isKey)
            throws Exception {
        Class<?> type = Class.forName(given.getProperty(what));
        Converter made = (Converter) type.getDeclaredConstructor().newInstance();
        made.configure(below(what + ".", given), isKey);
        return made;
    }

    private static Map<String, String> below(String prefix, Properties given) {
        Map<String, String> found = new TreeMap<>();
        for (String property : given.stringPropertyNames()) {
            if (property.startsWith(prefix)) {
                found.put(property.substring(prefix.length()), given.getProperty(property));
            }
        }
        return found;
    }

    private static Properties read(String file) throws Exception {
        Properties properties = new Properties();
        try (FileInputStream in = new FileInputStream(file)) {
            properties.load(in);
        }
        return properties;
    }

    /** Transforms and converts as a worker of Kafka Connect does. Returns how many were sent. */
    private int send(SourceRecord change) {
        // The router adds to the headers it is given; others are given the same change.
        SourceRecord routed = router.apply(change.newRecord(
                change.topic(), change.kafkaPartition(), change.keySchema(), change.key(),
                change.valueSchema(), change.value(), change.timestamp(),
                change.headers().duplicate()));
        if (routed == null) {
            return 0;
        }
        String topic = routed.topic();
        List<List<Object>> carried = new ArrayList<>();
        for (Header one : routed.headers()) {
            carried.add(Arrays.asList(one.key(),
                    headers.fromConnectHeader(topic, one.key(), one.schema(), one.value())));
        }
        byte[] keyBytes = key.fromConnectData(topic, routed.keySchema(), routed.key());
        byte[] valueBytes = null;
        String error = null;
        try {
            valueBytes = value.fromConnectData(topic, routed.valueSchema(), routed.value());
        } catch (RuntimeException raised) {
            error = raised.toString();
        }
        Map<String, Object> line = new TreeMap<>();
        line.put("configuration", name);
        line.put("topic", topic);
        line.put("key", keyBytes);
        line.put("value", valueBytes);
        line.put("headers", carried);
        line.put("error", error);
        try {
            System.out.println(JSON.writeValueAsString(line));
        } catch (Exception raised) {
            throw new IllegalStateException(raised);
        }
        return 1;
    }
}
